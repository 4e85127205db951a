import numpy as np
import torch
import torch.nn.functional as F
from toy_losses import expert_terms

from ltmm.models.losses import SADELoss
from ltmm.models.losses.expert.sade_loss import inverse_prior

COUNTS = [60, 30, 10]


def test_formula():
    logits, label = torch.randn(3, 4, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2])
    terms = expert_terms(SADELoss(tau=2.0, class_counts=COUNTS), logits, label)
    prior = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
    expected = [
        F.cross_entropy(logits[0], label),
        F.cross_entropy(logits[1] + prior.log(), label),
        F.cross_entropy(logits[2] + prior.log() - 2 * prior.flip(0).log(), label),
    ]
    assert list(terms) == ['loss_forward', 'loss_uniform', 'loss_backward']
    torch.testing.assert_close(torch.stack([*terms.values()]), torch.stack(expected), rtol=1e-7, atol=1e-7)


def test_inverse_prior():
    np.testing.assert_allclose(inverse_prior(np.array([0.1, 0.6, 0.3])), [0.6, 0.1, 0.3])
    np.testing.assert_allclose(inverse_prior(np.array([0.2, 0.2, 0.6])), [0.6, 0.2, 0.2])  # ties: by label


def test_soft_labels():
    logits, loss = torch.randn(3, 2, 3), SADELoss(class_counts=COUNTS)
    first, second = torch.tensor([0, 1]), torch.tensor([2, 2])
    soft = 0.3 * F.one_hot(first, 3) + 0.7 * F.one_hot(second, 3)
    of_soft, of_first, of_second = (expert_terms(loss, logits, label) for label in (soft, first, second))
    for name, term in of_soft.items():
        torch.testing.assert_close(term, 0.3 * of_first[name] + 0.7 * of_second[name])
