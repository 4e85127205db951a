import numpy as np
import pytest
import torch

from ltmm.models.losses.classification.ldam_loss import LDAMLoss, ldam_margins

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])


def naive(score, label, counts, max_margin, scale):
    """-log(e^(s (z_y - m_y)) / (e^(s (z_y - m_y)) + sum_(c != y) e^(s z_c))), sample by sample."""
    constant = max_margin / max(n**-0.25 for n in counts)
    losses = []
    for z, y in zip(score, label):
        own = torch.exp(scale * (z[y] - constant * counts[y] ** -0.25))
        others = sum(torch.exp(scale * z[c]) for c in range(len(z)) if c != y)
        losses.append(-torch.log(own / (own + others)))
    return torch.stack(losses)


@pytest.mark.parametrize('scale', [1.0, 30.0])
def test_formula_and_gradient(scale):
    score = torch.rand(5, 4, dtype=torch.float64, requires_grad=True)
    loss = LDAMLoss(max_margin=0.3, scale=scale, class_counts=COUNTS, reduction='none')(score, LABEL)
    expected = naive(score, LABEL, COUNTS, 0.3, scale)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(*(torch.autograd.grad(value.sum(), score)[0] for value in (loss, expected)))


def test_rarest_class_has_largest_margin():
    margins = ldam_margins(np.array([500, 60, 0, 3]), 0.5)
    assert margins[3] == pytest.approx(0.5) and margins[2] == 0
    assert (np.diff(margins[[0, 1, 3]]) > 0).all()
    np.testing.assert_allclose(margins[0] / margins[3], (3 / 500) ** 0.25)
