import numpy as np
import torch
import torch.nn.functional as F

from ltmm.models.losses.classification.cdt_loss import CDTLoss, cdt_divisor

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])


def test_formula():
    score = torch.randn(5, 4, dtype=torch.float64)
    divided = torch.stack([score[:, c] / (500 / n) ** 0.3 for c, n in enumerate(COUNTS)], dim=1)
    loss = CDTLoss(gamma=0.3, class_counts=COUNTS)(score, LABEL)
    torch.testing.assert_close(loss, F.cross_entropy(divided, LABEL))


def test_most_frequent_class_is_not_divided():
    divisor = cdt_divisor(np.array([500, 60, 0, 3]), 0.3)
    assert divisor[0] == divisor[2] == 1
    assert divisor[3] > divisor[1] > 1
