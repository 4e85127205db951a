"""BCE, focal, cross entropy with K positives, Hill and SPLC."""

import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import HillLoss, KPositiveCELoss, MultiLabelBCELoss, MultiLabelFocalLoss, SPLCLoss

SCORE = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGET = (torch.rand(6, 5, generator=torch.Generator().manual_seed(1)) < 0.3).double()
TARGET[0] = 0


def test_bce():
    expected = F.binary_cross_entropy_with_logits(SCORE, TARGET)
    torch.testing.assert_close(MultiLabelBCELoss()(SCORE, TARGET), expected)


@pytest.mark.parametrize('gamma', [0, 0.5, 2])
def test_focal(gamma):
    cost = F.binary_cross_entropy_with_logits(SCORE, TARGET, reduction='none')
    expected = 2.5 * (1 - (-cost).exp()) ** gamma * cost
    torch.testing.assert_close(MultiLabelFocalLoss(gamma=gamma, balance=2.5, reduction='none')(SCORE, TARGET), expected)


def test_k_positive():
    loss = KPositiveCELoss(reduction='none')(SCORE, TARGET).sum(1)
    assert loss[0] == 0
    for i in range(1, 6):
        positives = TARGET[i] == 1
        expected = -SCORE[i].log_softmax(0)[positives].mean() if positives.any() else SCORE.new_zeros(())
        torch.testing.assert_close(loss[i], expected)


@pytest.mark.parametrize('gamma', [0, 0.5, 2])
def test_hill(gamma):
    p, margin = SCORE.sigmoid(), (SCORE - 1).sigmoid()
    expected = -TARGET * (1 - margin) ** gamma * margin.log() + (1 - TARGET) * (1.5 - p) * p**2
    torch.testing.assert_close(HillLoss(gamma=gamma)(SCORE, TARGET), expected.sum())


def test_hill_gradient_of_confident_negatives():
    score = torch.tensor([[0.0, 3.0, 9.0]], requires_grad=True)
    HillLoss()(score, torch.zeros(1, 3)).backward()
    assert score.grad[0, 0] > score.grad[0, 1] > score.grad[0, 2] >= 0


def test_splc():
    loss = SPLCLoss(tau=0.6, start_epoch=1, margin=1.0, gamma=2.0, reduction='none')
    score, target = torch.tensor([[2.0, -2.0, 2.0, 2.0]]), torch.tensor([[0.0, 0.0, 1.0, -1.0]])
    focal = MultiLabelFocalLoss(gamma=2.0, balance=1.0, reduction='none')
    shifted = score - target.clamp(min=0)
    loss.set_progress(0, 3)
    torch.testing.assert_close(loss(score, target), focal(shifted, target.clamp(min=0)))
    loss.set_progress(1, 3)
    torch.testing.assert_close(loss(score, target), focal(shifted, torch.tensor([[1.0, 0.0, 1.0, 1.0]])))


def test_splc_needs_the_epoch():
    with pytest.raises(RuntimeError, match='SPLCLoss depends on .*ProgressHook'):
        SPLCLoss()(SCORE, TARGET)
