import pytest
import torch
import torch.nn.functional as F

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.models.losses.classification.balanced_softmax_loss import BalancedSoftmaxLoss
from ltmm.registry import MODELS

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])


def naive(score, label, counts):
    """The formula, sample by sample: -log(pi_y e^z_y / sum_c pi_c e^z_c)."""
    losses = []
    for z, y in zip(score, label):
        weighted = [n / sum(counts) * torch.exp(z_c) for n, z_c in zip(counts, z)]
        losses.append(-torch.log(weighted[y] / sum(weighted)))
    return torch.stack(losses)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_equals_the_formula_and_its_gradient(dtype):
    score = torch.randn(5, 4, dtype=dtype, requires_grad=True)
    loss = BalancedSoftmaxLoss(class_counts=COUNTS, reduction='none')(score, LABEL)
    expected = naive(score, LABEL, COUNTS)
    torch.testing.assert_close(loss, expected)
    grads = [torch.autograd.grad(value.sum(), score)[0] for value in (loss, expected)]
    torch.testing.assert_close(*grads)


def test_equal_counts_give_cross_entropy():
    score = torch.randn(5, 4)
    loss = BalancedSoftmaxLoss(class_counts=[7] * 4)(score, LABEL)
    torch.testing.assert_close(loss, F.cross_entropy(score, LABEL))


def test_only_the_shares_of_the_counts_matter():
    score = torch.randn(5, 4)
    losses = [BalancedSoftmaxLoss(class_counts=[n * k for n in COUNTS])(score, LABEL) for k in (1, 1000)]
    torch.testing.assert_close(*losses)


def test_a_class_without_samples_has_no_part_and_no_gradient():
    counts, label = [500, 60, 0, 3], torch.tensor([0, 1, 3, 3, 1])
    score = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    loss = BalancedSoftmaxLoss(class_counts=counts)(score, label)
    loss.backward()
    assert not score.grad[:, 2].any()
    assert score.grad.isfinite().all()
    others = BalancedSoftmaxLoss(class_counts=[500, 60, 3])(score[:, [0, 1, 3]], torch.tensor([0, 1, 2, 2, 1]))
    torch.testing.assert_close(loss, others)


def test_large_logits_stay_finite():
    score = torch.tensor([[1e4, -1e4, 0, 0], [-1e4, 1e4, 0, 0]], requires_grad=True)
    loss = BalancedSoftmaxLoss(class_counts=COUNTS, reduction='none')(score, torch.tensor([0, 0]))
    loss.sum().backward()
    torch.testing.assert_close(loss, torch.tensor([0.0, 2e4]), rtol=1e-3, atol=1e-3)
    assert score.grad.isfinite().all()


def test_bfloat16_logits_are_computed_in_float32():
    score = torch.randn(5, 4, dtype=torch.bfloat16, requires_grad=True)
    loss_module = BalancedSoftmaxLoss(class_counts=COUNTS)
    loss = loss_module(score, LABEL)
    loss.backward()
    assert loss.dtype == torch.float32 and score.grad.dtype == torch.bfloat16
    torch.testing.assert_close(loss, loss_module(score.detach().float(), LABEL))


def test_soft_labels_mix_the_losses_of_the_classes():
    score = torch.randn(2, 4, dtype=torch.float64)
    soft = torch.tensor([[0.7, 0.3, 0, 0], [0, 0, 0, 1.0]], dtype=torch.float64)
    loss = BalancedSoftmaxLoss(class_counts=COUNTS, reduction='none')
    first, second = (loss(score, torch.tensor(label)) for label in ([0, 3], [1, 3]))
    torch.testing.assert_close(loss(score, soft), torch.stack([0.7 * first[0] + 0.3 * second[0], first[1]]))


def test_soft_labels_with_a_class_without_samples_stay_finite():
    score = torch.randn(1, 3, requires_grad=True)
    loss = BalancedSoftmaxLoss(class_counts=[5, 3, 0])(score, torch.tensor([[0.5, 0.5, 0.0]]))
    loss.backward()
    assert loss.isfinite() and score.grad.isfinite().all()


def test_a_checkpoint_carries_the_prior():
    trained, fresh = BalancedSoftmaxLoss(), BalancedSoftmaxLoss()
    trained.set_class_distribution(ClassDistribution(COUNTS))
    fresh.load_state_dict(trained.state_dict())
    score = torch.randn(5, 4)
    assert fresh.get_class_distribution() == ClassDistribution(COUNTS)
    torch.testing.assert_close(fresh(score, LABEL), trained(score, LABEL), rtol=0, atol=0)


def test_without_a_distribution_the_error_says_both_ways_to_give_one():
    with pytest.raises(RuntimeError, match=r'ClassDistributionHook.*BalancedSoftmaxLoss\(class_counts=\[\.\.\.\]\)'):
        BalancedSoftmaxLoss()(torch.randn(5, 4), LABEL)


def test_counts_of_another_number_of_classes_are_refused_at_build():
    with pytest.raises(ClassDistributionError, match='expected `class_counts` to have 5 entries, but got 4'):
        MODELS.build(dict(type='ltmm.BalancedSoftmaxLoss', class_counts=COUNTS, num_classes=5))
