import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import ASLSingleLabelLoss

SCORE = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABEL = torch.tensor([0, 1, 4, 4, 2, 3])


@pytest.mark.parametrize('gamma_pos, gamma_neg', [(0, 4), (1, 2), (0.5, 0)])
def test_formula(gamma_pos, gamma_neg):
    p, onehot = SCORE.softmax(1), F.one_hot(LABEL, 5)
    weight = torch.where(onehot == 1, (1 - p) ** gamma_pos, p**gamma_neg)
    expected = -((onehot * 0.9 + 0.1 / 5) * weight * p.log()).sum(1).mean()
    torch.testing.assert_close(ASLSingleLabelLoss(gamma_pos=gamma_pos, gamma_neg=gamma_neg)(SCORE, LABEL), expected)


def test_without_focus_it_is_smoothed_cross_entropy():
    expected = F.cross_entropy(SCORE, LABEL, label_smoothing=0.1)
    torch.testing.assert_close(ASLSingleLabelLoss(gamma_pos=0, gamma_neg=0)(SCORE, LABEL), expected)
