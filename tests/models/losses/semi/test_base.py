import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import LossInputs
from ltmm.models.losses.semi.base import SemiSupervisedLoss, consistency, supervised


def test_consistency_is_a_mean_over_all_strong_views():
    score, mask = torch.randn(2, 4, 3), torch.tensor([True, False, True, False])
    label = torch.tensor([0, 2, 1, 1])
    expected = sum(F.cross_entropy(score[s, i], label[i]) for s in range(2) for i in (0, 2)) / 8
    torch.testing.assert_close(consistency(score, label, mask), expected)
    soft = torch.rand(4, 3).softmax(1)
    weight = torch.tensor([0.5, 1.0, 0.0, 2.0])
    losses = -(soft * score.log_softmax(2)).sum(2)  # (2, 4)
    torch.testing.assert_close(consistency(score, soft, weight), (losses * weight).mean())


def test_supervised_loss_is_a_mean_over_views():
    score, label = torch.randn(6, 4), torch.tensor([0, 3, 1])
    torch.testing.assert_close(supervised(score, label), F.cross_entropy(score, torch.cat([label, label])))


def test_nothing_confident_and_nothing_at_all():
    score = torch.randn(2, 4, 3, requires_grad=True)
    consistency(score, torch.zeros(4, dtype=torch.long), torch.zeros(4)).backward()
    assert not score.grad.any()
    assert consistency(score[:, :0], torch.zeros(0, dtype=torch.long), torch.zeros(0)) == 0
    assert supervised(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long)) == 0


def test_report_is_kept_for_the_hook():
    loss = SemiSupervisedLoss(threshold=0.7)
    inputs = LossInputs(torch.zeros(1), unlabeled_idx=torch.tensor([4, 5]))
    logged = loss.report(inputs, torch.tensor([1, 0]), torch.tensor([0.9, 0.5]), torch.tensor([True, False]))
    assert {name: value.item() for name, value in logged.items()} == pytest.approx(
        dict(mask_rate=0.5, confidence=0.7, threshold=0.7)
    )
    assert not any('loss' in name for name in logged)  # MMEngine adds up those
    pseudo = loss.pseudo_labels
    assert [x.tolist() for x in (pseudo.label, pseudo.mask, pseudo.sample_idx)] == [[1, 0], [True, False], [4, 5]]


def test_bad_input():
    with pytest.raises(ValueError, match='`threshold` to be in .0, 1., but got 1.5'):
        SemiSupervisedLoss(threshold=1.5)
    loss, label = SemiSupervisedLoss(), torch.zeros(2, dtype=torch.long)
    with pytest.raises(ValueError, match='at least 2 views of each unlabeled image.*got 1'):
        loss(LossInputs(label, torch.zeros(2, 3), unlabeled_score=torch.zeros(1, 2, 3)))
    with pytest.raises(ValueError, match='needs `unlabeled_score`'):
        loss(LossInputs(label, torch.zeros(2, 3)))
