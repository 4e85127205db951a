import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.classification.balanced_softmax_loss import BalancedSoftmaxLoss

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_formula(dtype):
    score, prior = torch.randn(5, 4, dtype=dtype), torch.tensor(COUNTS, dtype=dtype) / sum(COUNTS)
    loss = BalancedSoftmaxLoss(class_counts=COUNTS, reduction='none')(score, LABEL)
    weighted = prior * score.exp()
    torch.testing.assert_close(loss, -(weighted[range(5), LABEL] / weighted.sum(1)).log())


def test_only_shares_of_counts_matter():
    score = torch.randn(5, 4)
    losses = [BalancedSoftmaxLoss(class_counts=[n * k for n in COUNTS])(score, LABEL) for k in (1, 1000)]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(BalancedSoftmaxLoss(class_counts=[7] * 4)(score, LABEL), F.cross_entropy(score, LABEL))


@pytest.mark.parametrize('soft', [False, True])
def test_tau_and_smoothing(soft):
    score, prior = torch.randn(5, 4, dtype=torch.float64), torch.tensor(COUNTS, dtype=torch.float64) / sum(COUNTS)
    label = torch.rand(5, 4, dtype=torch.float64).softmax(1) if soft else LABEL
    rows = label if soft else F.one_hot(label, 4).double()
    loss = BalancedSoftmaxLoss(tau=1.05, smoothing=0.1, class_counts=COUNTS)(score, label)
    weighted = prior**1.05 * score.exp()
    share = weighted / weighted.sum(1, keepdim=True)
    torch.testing.assert_close(loss, -((0.9 * rows + 0.1 / 4) * share.log()).sum(1).mean())
