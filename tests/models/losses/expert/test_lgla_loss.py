import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from toy_losses import expert_terms

from ltmm.models.losses import LGLALoss
from ltmm.models.losses.expert.lgla_loss import angular_weight, frequency_regions

COUNTS = [60, 30, 8, 2, 0]


@pytest.mark.parametrize(
    'counts, num_regions, regions',
    [
        ([45, 30, 15, 10], 2, [0, 1, 1, 1]),  # 10 + 15 + 30 exceed 50
        ([60, 30, 8, 2], 2, [1, 1, 1, 1]),  # so do 2 + 8 + 30 + 60
        ([30, 60, 8, 2], 2, [1, 1, 1, 1]),  # the region ends with the largest class: region 0 is empty
        ([10, 10, 10, 9, 9, 9], 2, [1, 1, 1, 1, 1, 1]),
        ([200, 150, 120, 100, 80, 60, 40, 30, 20, 15, 10, 5], 3, [1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2]),
        ([5, 5, 5, 5, 5, 5, 2, 2], 2, [1, 1, 1, 1, 1, 1, 1, 1]),
        ([1000, 10, 5, 2], 3, [1, 1, 1, 1]),
        ([100, 0, 20, 0], 2, [1, 2, 1, 2]),  # no images: no region
        ([7, 5, 3], 1, [0, 0, 0]),
        ([1, 1, 1, 1, 1], 3, [2, 2, 2, 2, 2]),
    ],
)
def test_regions(counts, num_regions, regions):
    assert frequency_regions(np.array(counts), num_regions).tolist() == regions


def naive_regions(counts: list[int], num_regions: int) -> list[int]:
    """The walk over the classes, and the intervals (lower, upper] of counts."""
    share, total, cuts = sum(counts) // num_regions, 0, []
    for count in sorted(counts):
        total += count
        if total > share:
            cuts.append(count)
            total = 0
    bounds = [max(counts), *cuts[::-1], 0]
    intervals = list(zip(bounds[1:], bounds))[:num_regions]
    return [next((r for r, (low, high) in enumerate(intervals) if low < n <= high), num_regions) for n in counts]


def test_random_regions():
    for seed in range(50):
        draw = np.random.RandomState(seed)
        counts = draw.geometric(0.05, draw.randint(2, 30)) * draw.randint(0, 2, 1)[0] + draw.randint(0, 9)
        counts[0] += 1
        for num_regions in (1, 2, 3, 5):
            assert frequency_regions(counts, num_regions).tolist() == naive_regions(counts.tolist(), num_regions)


def naive_terms(logits, label, counts, tau, scale):
    """The formula of the paper, expert by expert and sample by sample."""
    num_experts, num_samples, _ = logits.shape
    region, prior = naive_regions(counts, num_experts - 1), torch.tensor(counts, dtype=torch.float64) / sum(counts)
    terms = []
    for e in range(num_experts):
        angle = [math.acos(min(max(logits[e, i, y].item() / scale, -1), 1)) for i, y in enumerate(label.tolist())]
        if e == num_experts - 1:
            adjusted = logits[e] + tau * (prior + 1e-9).log()
        else:
            within = torch.tensor([r == e for r in region])
            adjusted = logits[e] + (torch.where(within, prior, prior.max()) + 1e-9).log()
        losses = []
        for i, y in enumerate(label.tolist()):
            same = [angle[j] for j, other in enumerate(label.tolist()) if region[other] == region[y]]
            excess = max(angle[i] - sum(same) / len(same), 0) if region[y] < num_experts - 1 else 0
            losses.append((1 + excess) * F.cross_entropy(adjusted[i], torch.tensor(y)))
        terms.append(sum(losses) / num_samples)
    return torch.stack(terms)


@pytest.mark.parametrize('counts', [COUNTS, [30, 60, 8, 2, 9], [5] * 5, [1000, 10, 5, 2, 2], [1] * 5])
@pytest.mark.parametrize('num_experts', [2, 3, 4])
def test_formula(counts, num_experts):
    logits = 2 * torch.randn(num_experts, 12, 5, dtype=torch.float64)  # of scale 5: some cosines are beyond 1
    label = torch.arange(12) % 4
    loss = LGLALoss(num_experts=num_experts, tau=1.7, scale=5.0, class_counts=counts)
    terms = expert_terms(loss, logits, label)
    assert list(terms) == [*(f'loss_local{e}' for e in range(num_experts - 1)), 'loss_global']
    torch.testing.assert_close(
        torch.stack([*terms.values()]), naive_terms(logits, label, counts, 1.7, 5.0), rtol=1e-9, atol=1e-9
    )


def test_weight_has_no_gradient():
    logits, label = torch.randn(3, 6, 5, requires_grad=True), torch.tensor([0, 1, 2, 3, 1, 1])
    loss = LGLALoss(scale=3.0, class_counts=COUNTS)
    sum(expert_terms(loss, logits, label).values()).backward()
    weight = angular_weight(logits.detach()[:, torch.arange(6), label] / 3, loss.region[label], 2)
    probability = (logits.detach() + loss.bias.float().unsqueeze(1)).softmax(-1)
    expected = weight.unsqueeze(-1) * (probability - F.one_hot(label, 5)) / 6
    torch.testing.assert_close(logits.grad, expected)


def test_missing_and_empty_regions():
    """A local expert without classes of its own learns by plain cross entropy."""
    logits, label = torch.randn(4, 3, 4), torch.tensor([0, 1, 2])
    terms = expert_terms(LGLALoss(num_experts=4, class_counts=[1000, 10, 5, 2]), logits, label)
    cosine = logits[:, torch.arange(3), label] / 30
    weight = angular_weight(cosine, torch.tensor([1, 1, 1]), 3)  # the only region that has classes
    for e in (0, 2):
        expected = (weight[e] * F.cross_entropy(logits[e], label, reduction='none')).mean()
        torch.testing.assert_close(terms[f'loss_local{e}'], expected)


def test_region_absent_from_the_batch():
    weight = angular_weight(torch.tensor([[0.5, 1.0 + 1e-6, -1.1]]), torch.tensor([0, 0, 2]), 2)
    mean = math.pi / 6
    torch.testing.assert_close(weight, torch.tensor([[1 + math.pi / 3 - mean, 1.0, 1.0]]))


def test_strength_of_the_global_expert():
    assert LGLALoss(num_experts=2).tau == 1 and LGLALoss(num_experts=4).tau == 3
    assert LGLALoss(num_experts=2, tau=2.0).tau == 2
