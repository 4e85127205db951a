import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from toy_ranks import on_ranks

from ltmm.models.losses.detection.efl_loss import EqualizedFocalLoss, EqualizedQualityFocalLoss

C = 5
BOTH = pytest.mark.parametrize('kind', [EqualizedFocalLoss, EqualizedQualityFocalLoss])


def build(kind=EqualizedFocalLoss, **options):
    loss = kind(**options)
    assert loss.get_dense_channels(C) == C
    return loss


def random_batch(kind=EqualizedFocalLoss, num=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    score = 2 * torch.randn(num, C, generator=generator, dtype=torch.float64)
    label = torch.randint(C + 1, (num,), generator=generator)
    quality = torch.rand(num, generator=generator, dtype=torch.float64)
    return score, (label, quality) if kind is EqualizedQualityFocalLoss else label


class Naive:
    """The formula as the paper has it, with the gradients of autograd."""

    def __init__(self, alpha):
        self.positive, self.negative = torch.zeros(2, C, dtype=torch.float64)
        self.ratio, self.alpha = torch.ones(C, dtype=torch.float64), alpha

    def __call__(self, score, label, weight):
        label, quality = label if isinstance(label, tuple) else (label, None)
        target, p = F.one_hot(label, C + 1)[:, :C].to(score), score.sigmoid()
        gamma = 2 + 8 * (1 - self.ratio)
        if quality is None:
            pt = torch.where(target == 1, p, 1 - p)
            alpha = torch.where(target == 1, self.alpha, 1 - self.alpha)
            each = alpha * (1 - pt) ** gamma * -pt.log()
        else:
            q = target * quality.unsqueeze(1)
            each = (q - p).abs() ** gamma * -(q * p.log() + (1 - q) * (1 - p).log())
        loss = (gamma / 2 * each * weight.unsqueeze(1)).sum() / weight.sum()
        (grad,) = torch.autograd.grad(loss, score, retain_graph=True)
        self.positive += (grad.abs() * target).sum(0)
        self.negative += (grad.abs() * (1 - target)).sum(0)
        self.ratio = (self.positive / (self.negative + 1e-10)).clamp(0, 1)
        return loss


@BOTH
def test_formula_over_iterations(kind):
    ours, naive = build(kind), Naive(alpha=0.25)
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0] * 4, dtype=torch.float64)
    for step in range(4):
        score, label = random_batch(kind, seed=step)
        score.requires_grad_()
        results = [
            (loss.detach(), *torch.autograd.grad(loss, score))
            for loss in (naive(score, label, weight), ours(score, label, weight, avg_factor=16.0))
        ]
        torch.testing.assert_close(*results)
        torch.testing.assert_close(ours.gradient_ratio, naive.ratio)
        torch.testing.assert_close(ours.gradients.positive, naive.positive)
    assert 0 < ours.gradient_ratio.min() < ours.gradient_ratio.max() <= 1


@BOTH
def test_gradients_of_a_loss_weight_and_of_class_weights(kind):
    score, label = random_batch(kind)
    score.requires_grad_()
    class_weight = [0.5, 1.0, 2.0, 1.0, 3.0]
    loss = build(kind, loss_weight=3.0, class_weight=class_weight)
    (grad,) = torch.autograd.grad(loss(score, label), score)
    sums = loss.gradients.positive + loss.gradients.negative
    torch.testing.assert_close(sums, grad.abs().sum(0))


def test_starts_as_focal_loss():
    score, label = random_batch()
    target = F.one_hot(label, C + 1)[:, :C].to(score)
    p = torch.where(target == 1, score.sigmoid(), 1 - score.sigmoid())
    focal = (1 - p) ** 2 * -p.log()
    torch.testing.assert_close(build(alpha=None)(score, label), focal.sum() / 16)
    alpha = torch.where(target == 1, 0.25, 0.75)
    torch.testing.assert_close(build()(score, label), (alpha * focal).sum() / 16)


def test_class_without_objects_gets_the_largest_exponent():
    loss = build()
    score, label = random_batch()
    loss(score, label.clamp(min=1))
    gamma, weight = loss.focus(score)
    assert gamma[0] == 10 and weight[0] == 5 and (gamma[1:] < 10).all()


@BOTH
def test_levels_are_one_update(kind):
    by_level, at_once = build(kind), build(kind)
    for step in range(3):
        score, label = random_batch(kind, seed=step)
        parts = [label] if torch.is_tensor(label) else label
        with by_level.one_update():
            values = []
            for rows in (slice(0, 4), slice(4, 16)):
                part = [each[rows] for each in parts]
                values.append(by_level(score[rows], part[0] if len(part) == 1 else tuple(part), avg_factor=16))
        torch.testing.assert_close(sum(values), at_once(score, label))
    torch.testing.assert_close(by_level.state_dict(), at_once.state_dict())


@BOTH
def test_large_logits_and_exact_hits(kind):
    score = torch.tensor([[1e4, -1e4, 0, 50, -50], [-1e4, 1e4, 0, 0, 0]], requires_grad=True)
    label = torch.tensor([0, 0])
    loss = build(kind)
    for quality in (torch.tensor([1.0, 1.0]), torch.tensor([0.5, 0.0])):
        value = loss(score, (label, quality) if kind is EqualizedQualityFocalLoss else label)
        value.backward()
        assert value.isfinite() and score.grad.isfinite().all() and loss.gradient_ratio.isfinite().all()


def test_hard_labels_have_quality_1():
    score, label = random_batch()
    ones = torch.ones(16, dtype=torch.float64)
    values = [build(EqualizedQualityFocalLoss)(score, each) for each in (label, (label, ones))]
    torch.testing.assert_close(*values)


@BOTH
def test_nothing_waits_for_the_device(kind):
    loss = build(kind)
    with FakeTensorMode(allow_non_fake_inputs=True):
        loss(torch.rand(5, C, requires_grad=True), torch.zeros(5, dtype=torch.long), avg_factor=5).backward()


def state_on_rank(rank: int | None) -> torch.Tensor:
    rows = slice(None) if rank is None else [slice(0, 4), slice(4, 16)][rank]
    loss, (score, label) = build(), random_batch()
    loss(score[rows], label[rows])
    return torch.stack([loss.gradients.positive, loss.gradients.negative])


def test_gradients_are_of_all_ranks(tmp_path):
    for state in on_ranks(state_on_rank, tmp_path):
        torch.testing.assert_close(state, state_on_rank(None))
