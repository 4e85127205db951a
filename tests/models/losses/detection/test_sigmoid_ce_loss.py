import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.detection.sigmoid_ce_loss import SigmoidCrossEntropyLoss, sigmoid_cross_entropy


def random_batch(num=12, columns=7, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    score = 3 * torch.randn(num, columns, generator=generator, dtype=dtype)
    label = torch.randint(columns + 1, (num,), generator=generator)
    label[:2] = columns  # no column is right
    positive, negative, background = torch.rand(3, columns, generator=generator, dtype=dtype)
    return score, label, dict(positive=positive, negative=negative, background=background)


def naive(score, label, positive, negative, background=None):
    target = F.one_hot(label, score.size(1) + 1)[:, :-1].to(score)
    wrong = negative.expand_as(score).clone()
    if background is not None:
        wrong[label == score.size(1)] = background
    weight = torch.where(target == 1, positive, wrong)
    return (F.binary_cross_entropy_with_logits(score, target, reduction='none') * weight).sum(1)


@pytest.mark.parametrize('leave_out', [(), ('background',), ('positive', 'negative', 'background')])
def test_formula_and_gradient(leave_out):
    score, label, weights = random_batch()
    weights = {name: weight for name, weight in weights.items() if name not in leave_out}
    ones = torch.ones(score.size(1), dtype=score.dtype)
    expected = naive(score.requires_grad_(), label, **{'positive': ones, 'negative': ones, **weights})
    got = sigmoid_cross_entropy(score, label, **weights)
    torch.testing.assert_close(got, expected)
    factor = torch.arange(len(label))
    grads = (torch.autograd.grad((loss * factor).sum(), score)[0] for loss in (got, expected))
    torch.testing.assert_close(*grads)
    torch.testing.assert_close(sigmoid_cross_entropy(score.detach(), label, **weights), expected.detach())


def test_second_derivative():
    score, label, weights = random_batch(3, 4)
    assert torch.autograd.gradgradcheck(lambda z: sigmoid_cross_entropy(z, label, **weights), score.requires_grad_())


def test_nan_is_not_hidden_by_a_weight_of_zero():
    score = torch.zeros(2, 3)
    score[0, 1] = torch.nan
    loss = sigmoid_cross_entropy(score.requires_grad_(), torch.tensor([0, 3]), negative=torch.zeros(3))
    assert loss[0].isnan() and loss[1] == 0


def test_no_rows():
    score = torch.zeros(0, 3, requires_grad=True)
    loss = sigmoid_cross_entropy(score, torch.zeros(0, dtype=torch.long))
    loss.sum().backward()
    assert loss.shape == (0,) and score.grad.shape == (0, 3)


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
