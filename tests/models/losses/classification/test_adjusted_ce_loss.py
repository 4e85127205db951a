import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.models.losses.classification.adjusted_ce_loss import adjusted_cross_entropy, adjusted_logits

LABEL = torch.tensor([0, 3, 3, 2, 1])
PARTS = dict(
    divisor=torch.tensor([1.0, 1.5, 2.0, 4.0]).double(),
    offset=torch.tensor([-0.2, -1.0, -3.0, -5.0]).double(),
    margin=torch.tensor([0.1, 0.2, 0.3, 0.5]).double(),
    scale=3.0,
)
EVERY_SUBSET = [dict(itertools.compress(PARTS.items(), kept)) for kept in itertools.product([0, 1], repeat=4)]


def naive_logits(z: Tensor, y: int, divisor=None, offset=None, margin=None, scale=1.0) -> Tensor:
    """s (z / Delta + iota - m onehot(y)) of one sample, class by class."""
    logits = []
    for c in range(len(z)):
        logit = z[c] / (1 if divisor is None else divisor[c])
        logit = logit + (0 if offset is None else offset[c])
        logit = logit - (margin[c] if margin is not None and c == y else 0)
        logits.append(scale * logit)
    return torch.stack(logits)


@pytest.mark.parametrize('adjustment', EVERY_SUBSET, ids=lambda a: '+'.join(a) or 'nothing')
@pytest.mark.parametrize('soft', [False, True])
def test_formula_and_gradient(adjustment, soft):
    score = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    logits = torch.stack([naive_logits(z, y, **adjustment) for z, y in zip(score, LABEL)])
    torch.testing.assert_close(adjusted_logits(score, LABEL, **adjustment), logits)
    weight = torch.rand(5, 4, dtype=torch.float64).softmax(1) if soft else F.one_hot(LABEL, 4)
    expected = sum(
        weight[:, c] * -torch.stack([naive_logits(z, c, **adjustment).log_softmax(0)[c] for z in score])
        for c in range(4)
    )
    losses = adjusted_cross_entropy(score, weight if soft else LABEL, **adjustment), expected
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss.sum(), score)[0] for loss in losses))


def test_margins_of_soft_labels_do_not_cancel():
    """The loss of the label is of the order of e^(s m - gap), which float32 must not lose."""
    score, margin = torch.tensor([[1.0, 0.2, 0.1]], requires_grad=True), torch.tensor([0.5, 0.5, 0.5])
    hard = adjusted_cross_entropy(score, torch.tensor([0]), margin=margin, scale=30.0)
    soft = adjusted_cross_entropy(score, torch.tensor([[1.0, 0.0, 0.0]]), margin=margin, scale=30.0)
    assert 1e-5 < hard.item() < 1e-3
    torch.testing.assert_close(soft, hard, rtol=1e-3, atol=0)
    torch.testing.assert_close(
        *(torch.autograd.grad(loss.sum(), score)[0] for loss in (soft, hard)), rtol=1e-3, atol=1e-9
    )


@pytest.mark.parametrize('margin', [None, torch.tensor([0.1, 0.2, 0.3, 0.5])], ids=['no margin', 'margin'])
def test_soft_labels_of_a_class_out_of_the_softmax(margin):
    score = torch.randn(2, 4, requires_grad=True)
    soft = torch.tensor([[0.5, 0.25, 0.0, 0.25], [0.0, 0.0, 0.0, 1.0]])
    offset = torch.tensor([0.0, 0.0, 0.0, -torch.inf])
    loss = adjusted_cross_entropy(score, soft, offset=offset, margin=margin)
    loss.sum().backward()
    others = adjusted_cross_entropy(score[:, :3], soft[:, :3], margin=None if margin is None else margin[:3])
    torch.testing.assert_close(loss, others)
    assert score.grad.isfinite().all() and not score.grad[:, 3].any()
