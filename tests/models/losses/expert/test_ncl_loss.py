import math
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from toy_losses import expert_terms

from ltmm.models.losses import NCLLoss
from ltmm.models.losses.expert.ncl_loss import hard_categories, mutual_divergence

COUNTS = [60, 30, 10, 0]
LOG_COUNTS = torch.tensor([60.0, 30.0, 10.0, 1.0], dtype=torch.float64).log()
LABEL = torch.tensor([0, 1, 2, 3, 0])


def logits(num_experts=3) -> torch.Tensor:
    return torch.randn(num_experts, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def divergence(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return F.kl_div((student.softmax(-1) + 1e-9).log(), teacher.softmax(-1), reduction='batchmean')


def test_hard_categories_hold_the_label():
    scores = torch.tensor([[3.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.0]])
    mask = hard_categories(scores, torch.tensor([0, 3]), 2)
    assert mask.tolist() == [[True, True, False, False], [True, False, False, True]]
    assert hard_categories(scores, torch.tensor([1, 2]), 1).float().argmax(1).tolist() == [1, 2]
    assert hard_categories(scores.half(), torch.tensor([0, 3]), 4).all()


def test_formula():
    z = logits()
    terms = expert_terms(NCLLoss(num_hard=2, class_counts=COUNTS), z, LABEL)
    v, h = z + LOG_COUNTS, torch.zeros_like(z)
    for n, label in enumerate(LABEL.tolist()):
        (rival,) = sorted({*range(4)} - {label}, key=lambda c: -z[0, n, c])[:1]
        h[:, n, [label, rival]] = v[:, n, [label, rival]]
    for e in range(3):
        torch.testing.assert_close(terms[f'loss_expert{e}'], F.cross_entropy(v[e], LABEL))
        torch.testing.assert_close(terms[f'loss_hard{e}'], F.cross_entropy(h[e], LABEL))
    for name, scores in (('loss_distill', v), ('loss_distill_hard', h)):
        total = sum(divergence(scores[i], scores[j]) for i, j in permutations(range(3), 2))
        torch.testing.assert_close(terms[name], 0.6 / 2 * total)


def test_form_of_the_paper():
    z = logits()
    terms = expert_terms(NCLLoss(num_hard=2, class_counts=COUNTS, mask_value=-1e9), z, LABEL)
    mask, v = hard_categories(z[0], LABEL, 2), z + LOG_COUNTS
    hard = torch.stack([expert[mask].view(5, 2) for expert in v])  # in the order of the classes
    place = (mask.cumsum(1).gather(1, LABEL[:, None]) - 1).flatten()
    for e in range(3):
        torch.testing.assert_close(terms[f'loss_hard{e}'], F.cross_entropy(hard[e], place))
    total = sum(divergence(hard[i], hard[j]) for i, j in permutations(range(3), 2))
    torch.testing.assert_close(terms['loss_distill_hard'], 0.6 / 2 * total)


def test_both_sides_of_a_pair_learn():
    z = logits(2).requires_grad_()
    mutual_divergence(z).sum().backward()
    expected = []
    for fixed in range(2):  # the gradient of an expert as teacher and as student
        own, other = z.detach()[fixed].clone().requires_grad_(), z.detach()[1 - fixed]
        (5 * (divergence(other, own) + divergence(own, other))).backward()
        expected.append(own.grad)
    torch.testing.assert_close(z.grad, torch.stack(expected))


def test_single_network_has_nobody_to_learn_from():
    terms = expert_terms(NCLLoss(num_hard=2, class_counts=COUNTS), logits(1), LABEL)
    assert terms['loss_distill'].abs() < 1e-12 and terms['loss_distill_hard'].abs() < 1e-12


@pytest.mark.parametrize('mask_value', [0.0, -1e9])
def test_gradients(mask_value):
    loss = NCLLoss(num_hard=2, class_counts=COUNTS, mask_value=mask_value)
    assert torch.autograd.gradcheck(lambda z: sum(expert_terms(loss, z, LABEL).values()), logits().requires_grad_())


def test_weights_of_the_terms():
    full = expert_terms(NCLLoss(num_hard=2, class_counts=COUNTS), logits(), LABEL)
    options = dict(ce_weight=0.5, hard_weight=2.0, distill_weight=0.3, hard_distill_weight=0.0)
    terms = expert_terms(NCLLoss(num_hard=2, class_counts=COUNTS, **options), logits(), LABEL)
    for name, factor in dict(expert0=0.5, hard2=2, distill=0.5, distill_hard=0).items():
        torch.testing.assert_close(terms[f'loss_{name}'], factor * full[f'loss_{name}'])
    assert all(math.isfinite(term) for term in terms.values())
