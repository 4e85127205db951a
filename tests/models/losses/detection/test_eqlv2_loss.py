import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.detection.eqlv2_loss import EQLv2Loss, eqlv2_weights, gathered_gradients

C = 5


def build(dense=False, **options):
    loss = EQLv2Loss(**options)
    (loss.get_dense_channels if dense else loss.get_cls_channels)(C)
    return loss


def random_batch(num=16, columns=C + 1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    score = 2 * torch.randn(num, columns, generator=generator, dtype=torch.float64)
    return score, torch.randint(C + 1, (num,), generator=generator)


class Naive:
    """The formula as the paper has it, on (N, K) targets."""

    def __init__(self):
        self.positive, self.negative = torch.zeros(2, C, dtype=torch.float64)
        self.ratio = torch.full((C,), 100.0, dtype=torch.float64)

    def __call__(self, score, label, weight):
        target = F.one_hot(label, C + 1)[:, : score.size(1)].to(score)
        u = F.pad(1 / (1 + torch.exp(-12 * (self.ratio - 0.8))), (0, score.size(1) - C), value=1)
        w = target * (1 + 4 * (1 - u)) + (1 - target) * u
        loss = (w * F.binary_cross_entropy_with_logits(score, target, reduction='none')).sum(1) * weight
        gradient = (score.detach().sigmoid() - target).abs() * w * weight.unsqueeze(1)
        self.positive += (gradient * target).sum(0)[:C]
        self.negative += (gradient * (1 - target)).sum(0)[:C]
        self.ratio = self.positive / (self.negative + 1e-10)
        return loss.sum() / weight.sum()


@pytest.mark.parametrize('dense', [False, True])
def test_formula_over_iterations(dense):
    ours, naive = build(dense), Naive()
    for step in range(4):
        score, label = random_batch(columns=C + (not dense), seed=step)
        weight = torch.tensor([1.0, 0.0, 2.0, 1.0] * 4)
        grads = []
        for loss in (ours(score.requires_grad_(), label, weight, avg_factor=16.0), naive(score, label, weight)):
            grads.append((loss.detach(), *torch.autograd.grad(loss, score)))
        torch.testing.assert_close(*grads)
        torch.testing.assert_close(ours.gradient_ratio, naive.ratio)


def test_weights_of_a_class_without_objects():
    loss = build()
    score, label = random_batch()
    for _ in range(3):
        loss(score, label.clamp(min=1))
    positive, negative = loss.weights()
    assert negative[0] < 1e-4 and positive[0] > 4.99 and positive[C] == negative[C] == 1


def test_weights():
    positive, negative = eqlv2_weights(torch.tensor([0.8, 1e9, 0.0]), gamma=12, mu=0.8, alpha=4)
    torch.testing.assert_close(negative, torch.tensor([0.5, 1.0, 6.77e-5]), rtol=1e-3, atol=0)
    torch.testing.assert_close(positive, torch.tensor([3.0, 1.0, 5.0]), rtol=1e-3, atol=0)


def test_gathered_gradients_equal_autograd():
    score, label = random_batch(columns=C)  # label C has no column
    weight, ones = torch.rand(16, dtype=score.dtype), torch.ones(C, dtype=score.dtype)
    target = F.one_hot(label, C + 1)[:, :C].to(score)
    loss = F.binary_cross_entropy_with_logits(score.requires_grad_(), target, weight.unsqueeze(1), reduction='sum')
    (grad,) = torch.autograd.grad(loss, score)
    positive, negative = gathered_gradients(score.detach(), label, weight, 3 * ones, 2 * ones)
    torch.testing.assert_close(positive, 3 * (-grad * target).sum(0))
    torch.testing.assert_close(negative, 2 * (grad * (1 - target)).sum(0))


def test_levels_are_one_update():
    by_level, at_once = build(dense=True), build(dense=True)
    for step in range(3):
        score, label = random_batch(columns=C, seed=step)
        with by_level.one_update():
            parts = [by_level(score[rows], label[rows], avg_factor=16) for rows in (slice(0, 4), slice(4, 16))]
        torch.testing.assert_close(sum(parts), at_once(score, label))
    torch.testing.assert_close(by_level.state_dict(), at_once.state_dict())


def test_nan_is_not_hidden():
    score, label = random_batch()
    score[0, 0] = torch.nan
    assert build()(score, label).isnan()


def test_scores():
    score, _ = random_batch()
    prob = score.sigmoid()
    torch.testing.assert_close(build().get_activation(score)[:, :C], prob[:, :C] * (1 - prob[:, C:]))
    torch.testing.assert_close(build(test_with_obj=False).get_activation(score), prob)
