from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from toy_losses import expert_terms

from ltmm.models.losses import NCLPlusLoss
from ltmm.models.losses.expert.ncl_loss import hard_categories

COUNTS, LABEL = [60, 30, 10, 0], torch.tensor([0, 3])
LOG_COUNTS = torch.tensor([60.0, 30.0, 10.0, 1.0], dtype=torch.float64).log()


def logits(num_experts: int, num_views: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num_experts, 2 * num_views, 4, dtype=torch.float64, generator=generator)


def partial(scores: torch.Tensor, mask: torch.Tensor) -> float:
    """Full and partial distillation of K predictions (K, N, C), entry by entry."""
    total, num = 0.0, len(scores)
    prob = scores.softmax(-1)
    for i, j in permutations(range(num), 2):
        for n in range(scores.size(1)):
            for c in range(4):
                p, q = prob[j, n, c], prob[i, n, c]
                total += (2 if mask[n, c] else 1) * p * (p.log() - (q + 1e-9).log())
    return 0.6 * 2 / (num * (num - 1)) * total / scores.size(1)


@pytest.mark.parametrize('num_experts, num_views', [(2, 3), (3, 2)])
def test_formula(num_experts, num_views):
    z = logits(num_experts, num_views)
    loss = NCLPlusLoss(num_hard=2, num_views=num_views, class_counts=COUNTS)
    terms = expert_terms(loss, z, LABEL)
    labels, v = LABEL.repeat(num_views), z + LOG_COUNTS
    mask = hard_categories(z[0], labels, 2)
    for e in range(num_experts):
        torch.testing.assert_close(terms[f'loss_expert{e}'], F.cross_entropy(v[e], labels))
        torch.testing.assert_close(terms[f'loss_hard{e}'], F.cross_entropy(v[e] * mask, labels))
        torch.testing.assert_close(terms[f'loss_intra{e}'], partial(torch.stack(v[e].split(2)), mask[:2]))
    torch.testing.assert_close(terms['loss_inter'], partial(v, mask))


def test_gradients_are_finite_outside_of_the_hard_categories():
    loss = NCLPlusLoss(num_hard=1, num_views=2, class_counts=COUNTS)
    z = logits(2, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: sum(expert_terms(loss, z, LABEL).values()), z)


def test_one_view_and_one_network_have_nothing_to_compare():
    terms = expert_terms(NCLPlusLoss(num_hard=2, num_views=1, class_counts=COUNTS), logits(1, 1), LABEL)
    assert terms['loss_intra0'].abs() < 1e-12 and terms['loss_inter'].abs() < 1e-12


def test_views_are_counted():
    with pytest.raises(ValueError, match='4 view.*8 rows.*got 4'):
        expert_terms(NCLPlusLoss(num_hard=2, class_counts=COUNTS), logits(2, 2), LABEL)
