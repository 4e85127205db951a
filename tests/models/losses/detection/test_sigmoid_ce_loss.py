import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.detection.sigmoid_ce_loss import SigmoidCrossEntropyLoss, sigmoid_cross_entropy


def random_batch(num=12, columns=7):
    generator = torch.Generator().manual_seed(0)
    score = 3 * torch.randn(num, columns, generator=generator, dtype=torch.float64)
    label = torch.randint(columns + 1, (num,), generator=generator)
    label[:2] = columns  # no column is right
    weights = torch.rand(3, columns, generator=generator, dtype=torch.float64)
    return score, label, dict(zip(('positive', 'negative', 'background'), weights))


def naive(score, label, positive, negative, background=None):
    target = F.one_hot(label, score.size(1) + 1)[:, :-1].to(score)
    wrong = negative.expand_as(score).clone()
    if background is not None:
        wrong[label == score.size(1)] = background
    weight = torch.where(target == 1, positive, wrong)
    return (F.binary_cross_entropy_with_logits(score, target, reduction='none') * weight).sum(1)


@pytest.mark.parametrize('leave_out', [(), ('background',), ('positive', 'negative', 'background')])
def test_formula(leave_out):
    score, label, weights = random_batch()
    weights = {name: weight for name, weight in weights.items() if name not in leave_out}
    ones = torch.ones(score.size(1), dtype=score.dtype)
    expected = naive(score, label, **{'positive': ones, 'negative': ones, **weights})
    torch.testing.assert_close(sigmoid_cross_entropy(score, label, **weights), expected)


def test_nan_is_not_hidden_by_a_weight_of_zero():
    score = torch.zeros(2, 3)
    score[0, 1] = torch.nan
    loss = sigmoid_cross_entropy(score, torch.tensor([0, 3]), negative=torch.zeros(3))
    assert loss[0].isnan() and loss[1] == 0


def test_background_column():
    loss = SigmoidCrossEntropyLoss()
    assert loss.get_cls_channels(3) == 4
    score = torch.randn(5, 4)
    prob = score.sigmoid()
    scores = loss.get_activation(score)
    torch.testing.assert_close(scores, torch.cat([prob[:, :3] * (1 - prob[:, 3:]), prob[:, 3:]], 1))
    label = torch.tensor([0, 3, 2, 3, 1])
    expected = F.binary_cross_entropy_with_logits(score, F.one_hot(label, 4).float(), reduction='sum') / 5
    torch.testing.assert_close(loss(score, label), expected)
