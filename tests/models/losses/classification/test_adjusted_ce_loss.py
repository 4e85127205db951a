import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.models.losses.classification.adjusted_ce_loss import adjusted_cross_entropy, adjusted_logits

LABEL = torch.tensor([0, 3, 3, 2, 1])
PARTS = dict(
    divisor=torch.tensor([1.0, 1.5, 2.0, 4.0]),
    offset=torch.tensor([-0.2, -1.0, -3.0, -5.0]),
    margin=torch.tensor([0.1, 0.2, 0.3, 0.5]),
    scale=3.0,
)
EVERY_SUBSET = [dict(itertools.compress(PARTS.items(), kept)) for kept in itertools.product([0, 1], repeat=4)]


def double(adjustment: dict) -> dict:
    return {k: v.double() if isinstance(v, Tensor) else v for k, v in adjustment.items()}


def naive_logits(z: Tensor, y: int, divisor=None, offset=None, margin=None, scale=1.0) -> Tensor:
    """s (z / Delta + iota - m onehot(y)) of one sample, class by class."""
    logits = []
    for c in range(len(z)):
        logit = z[c] / (1 if divisor is None else divisor[c])
        logit = logit + (0 if offset is None else offset[c])
        logit = logit - (margin[c] if margin is not None and c == y else 0)
        logits.append(scale * logit)
    return torch.stack(logits)


def naive_loss(z: Tensor, y: int, **adjustment) -> Tensor:
    logits = naive_logits(z, y, **adjustment)
    return logits.exp().sum().log() - logits[y]


@pytest.mark.parametrize('adjustment', EVERY_SUBSET, ids=lambda a: '+'.join(a) or 'nothing')
def test_logits_loss_and_gradient_equal_the_formula(adjustment):
    adjustment = double(adjustment)
    score = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    logits = torch.stack([naive_logits(z, y, **adjustment) for z, y in zip(score, LABEL)])
    torch.testing.assert_close(adjusted_logits(score, LABEL, **adjustment), logits)
    losses = [
        adjusted_cross_entropy(score, LABEL, **adjustment),
        torch.stack([naive_loss(z, y, **adjustment) for z, y in zip(score, LABEL)]),
    ]
    torch.testing.assert_close(*losses)
    probe = torch.randn(5, dtype=torch.float64)
    torch.testing.assert_close(*(torch.autograd.grad(loss @ probe, score)[0] for loss in losses))


@pytest.mark.parametrize('adjustment', [{}, PARTS], ids=['nothing', 'all'])
def test_second_derivatives_are_right(adjustment):
    score = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda z: adjusted_cross_entropy(z, LABEL, **double(adjustment)), score)


def test_the_logits_themselves_are_left_alone():
    score = torch.randn(5, 4, requires_grad=True)
    before = score.detach().clone()
    adjusted_cross_entropy(score, LABEL, margin=PARTS['margin']).sum().backward()
    adjusted_cross_entropy(score, LABEL).sum().backward()
    assert torch.equal(score, before)


@pytest.mark.parametrize('adjustment', EVERY_SUBSET, ids=lambda a: '+'.join(a) or 'nothing')
def test_soft_labels_weigh_the_losses_of_the_classes(adjustment):
    adjustment = double(adjustment)
    score = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    soft = torch.rand(5, 4, dtype=torch.float64).softmax(1)
    soft[0] = F.one_hot(LABEL[0], 4)
    losses = [
        adjusted_cross_entropy(score, soft, **adjustment),
        torch.stack([sum(t[c] * naive_loss(z, c, **adjustment) for c in range(4)) for z, t in zip(score, soft)]),
    ]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss.sum(), score)[0] for loss in losses))


def test_margins_of_soft_labels_survive_a_certain_prediction():
    """The loss of the label is of the order of e^(s m - gap): nothing of it may cancel in float32."""
    score, margin = torch.tensor([[1.0, 0.2, 0.1]], requires_grad=True), torch.tensor([0.5, 0.5, 0.5])
    hard = adjusted_cross_entropy(score, torch.tensor([0]), margin=margin, scale=30.0)
    soft = adjusted_cross_entropy(score, torch.tensor([[1.0, 0.0, 0.0]]), margin=margin, scale=30.0)
    assert 1e-5 < hard.item() < 1e-3
    torch.testing.assert_close(soft, hard, rtol=1e-3, atol=0)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss.sum(), score)[0] for loss in (soft, hard)), rtol=1e-3, atol=1e-9
    )


@pytest.mark.parametrize('margin', [None, PARTS['margin']], ids=['no margin', 'margin'])
def test_soft_labels_of_a_class_out_of_the_softmax_add_nothing(margin):
    score = torch.randn(2, 4, requires_grad=True)
    soft = torch.tensor([[0.5, 0.25, 0.0, 0.25], [0.0, 0.0, 0.0, 1.0]])
    offset = torch.tensor([0.0, 0.0, 0.0, -torch.inf])
    loss = adjusted_cross_entropy(score, soft, offset=offset, margin=margin)
    loss.sum().backward()
    others = adjusted_cross_entropy(score[:, :3], soft[:, :3], margin=None if margin is None else margin[:3])
    torch.testing.assert_close(loss, others)
    assert score.grad.isfinite().all() and not score.grad[:, 3].any()
