import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.classification.balanced_softmax_loss import BalancedSoftmaxLoss

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
def test_formula_and_gradient(dtype):
    score = torch.randn(5, 4, dtype=dtype, requires_grad=True)
    losses = [BalancedSoftmaxLoss(class_counts=COUNTS, reduction='none')(score, LABEL), naive(score, LABEL, COUNTS)]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(value.sum(), score)[0] for value in losses))


def test_only_shares_of_counts_matter():
    score = torch.randn(5, 4)
    losses = [BalancedSoftmaxLoss(class_counts=[n * k for n in COUNTS])(score, LABEL) for k in (1, 1000)]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(BalancedSoftmaxLoss(class_counts=[7] * 4)(score, LABEL), F.cross_entropy(score, LABEL))


def test_soft_labels_mix_the_losses_of_the_classes():
    score = torch.randn(2, 4, dtype=torch.float64)
    soft = torch.tensor([[0.7, 0.3, 0, 0], [0, 0, 0, 1.0]], dtype=torch.float64)
    loss = BalancedSoftmaxLoss(class_counts=COUNTS, reduction='none')
    first, second = (loss(score, torch.tensor(label)) for label in ([0, 3], [1, 3]))
    torch.testing.assert_close(loss(score, soft), torch.stack([0.7 * first[0] + 0.3 * second[0], first[1]]))
