import math

import pytest
import torch
import torch.nn.functional as F
from toy_ranks import on_ranks

from ltmm.models.losses.detection.gumbel_loss import (
    PRIOR_PROB,
    GumbelCrossEntropyLoss,
    gumbel_activation,
    gumbel_cross_entropy,
)

C = 4


def build(**options):
    loss = GumbelCrossEntropyLoss(**options)
    assert loss.get_cls_channels(C) == C + 1
    return loss


def random_batch(num=12, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    score = scale * torch.randn(num, C + 1, generator=generator, dtype=torch.float64)
    return score, torch.randint(C + 1, (num,), generator=generator)


def test_formula_and_gradient():
    score, label = random_batch()
    score.requires_grad_()
    total = 0
    for z, y in zip(score, label.tolist()):
        for k, x in enumerate(z):
            eta = (-(-x).exp()).exp()
            total = total - (eta if k == y else 1 - eta).log()
    losses = build(loss_weight=2.0)(score, label, avg_factor=10.0), 2 * total / 10
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss, score)[0] for loss in losses))


def test_no_gradient_outside_of_the_range():
    score = torch.tensor([[-4.5, -3.9, 9.9, 10.5]], dtype=torch.float64, requires_grad=True)
    loss = gumbel_cross_entropy(score, torch.tensor([[1.0, 1, 0, 0]], dtype=torch.float64))
    loss.sum().backward()
    assert loss.isfinite().all() and (score.grad != 0).tolist() == [[False, True, True, False]]
    assert score.grad[0, 1].abs() < 1e-6  # -log(eta) has 49


def test_above_the_bound_nothing_learns():
    score, label = random_batch(scale=12.0)
    bounded, plain = build(), build(max_loss=1e9)
    assert plain(score, label) > 20
    loss = bounded(score.requires_grad_(), label)
    loss.backward()
    assert loss == 20 and not score.grad.any()
    assert bounded(score, label, reduction_override='none').max() > 20


def test_scores_and_prior():
    score, _ = random_batch()
    torch.testing.assert_close(build().get_activation(score), (-(-score).exp()).exp())
    assert (gumbel_activation(torch.tensor([-1e4, 1e4])) == torch.tensor([0.0, 1.0])).all()
    assert math.log(PRIOR_PROB / (1 - PRIOR_PROB)) == pytest.approx(-2)
    assert build().get_activation(score.bfloat16()).dtype == torch.float32


def test_background_is_a_class():
    score, _ = random_batch(1)
    target = F.one_hot(torch.tensor([C]), C + 1).to(score)
    torch.testing.assert_close(build()(score, torch.tensor([C])), gumbel_cross_entropy(score, target).sum())


def moves_on_rank(rank: int) -> bool:
    score = torch.tensor([[[9.0] * 5], [[-3.0] * 5]][rank], requires_grad=True)  # a loss of 36 and one of 20
    build(max_loss=30.0)(score, torch.tensor([0]), avg_factor=1).backward()
    return bool(score.grad.any())


def test_the_bound_is_of_all_ranks(tmp_path):
    assert on_ranks(moves_on_rank, tmp_path) == [True, True]  # the mean is 28
