import pytest
import torch
import torch.nn.functional as F
from toy_losses import expert_terms

from ltmm.models.losses import BalancedSoftmaxLoss, BalPoELoss

COUNTS = [60, 30, 10]


def test_formula():
    logits, label = torch.randn(2, 4, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2])
    terms = expert_terms(BalPoELoss(taus=(-1, 3), class_counts=COUNTS), logits, label)
    log_prior = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64).log()
    expected = [F.cross_entropy(z + tau * log_prior, label) / 2 for z, tau in zip(logits, (-1, 3))]
    assert list(terms) == ['loss_expert0', 'loss_expert1']
    torch.testing.assert_close(torch.stack([*terms.values()]), torch.stack(expected), rtol=1e-7, atol=1e-7)


def test_one_expert_of_strength_one_is_balanced_softmax():
    logits, label = torch.randn(1, 4, 3), torch.tensor([0, 1, 2, 2])
    (term,) = expert_terms(BalPoELoss(taus=[1.0], class_counts=COUNTS), logits, label).values()
    torch.testing.assert_close(term, BalancedSoftmaxLoss(class_counts=COUNTS)(logits[0], label))


@pytest.mark.parametrize('lam', [0.0, 0.3, 1.0])
def test_mixup_mixes_the_losses(lam):
    logits, loss = torch.randn(3, 2, 3), BalPoELoss(class_counts=COUNTS)
    first, second = torch.tensor([0, 1]), torch.tensor([2, 2])
    soft = lam * F.one_hot(first, 3) + (1 - lam) * F.one_hot(second, 3)
    of_soft, of_first, of_second = (sum(expert_terms(loss, logits, y).values()) for y in (soft, first, second))
    torch.testing.assert_close(of_soft, lam * of_first + (1 - lam) * of_second)
