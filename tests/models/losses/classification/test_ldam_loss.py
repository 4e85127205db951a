import numpy as np
import pytest
import torch

from ltmm.models.losses.classification.ldam_loss import LDAMLoss, ldam_margins

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])


@pytest.mark.parametrize('scale', [1.0, 30.0])
def test_formula(scale):
    """-log(e^(s (z_y - m_y)) / (e^(s (z_y - m_y)) + sum_(c != y) e^(s z_c))), sample by sample."""
    score = torch.rand(5, 4, dtype=torch.float64)
    constant = 0.3 / max(n**-0.25 for n in COUNTS)
    expected = []
    for z, y in zip(score, LABEL):
        own = torch.exp(scale * (z[y] - constant * COUNTS[y] ** -0.25))
        others = sum(torch.exp(scale * z[c]) for c in range(4) if c != y)
        expected.append(-torch.log(own / (own + others)))
    loss = LDAMLoss(max_margin=0.3, scale=scale, class_counts=COUNTS, reduction='none')(score, LABEL)
    torch.testing.assert_close(loss, torch.stack(expected))


def test_rarest_class_has_largest_margin():
    margins = ldam_margins(np.array([500, 60, 0, 3]), 0.5)
    assert margins[3] == pytest.approx(0.5) and margins[2] == 0
    np.testing.assert_allclose(margins[[0, 1]], 0.5 * (3 / np.array([500, 60])) ** 0.25)
