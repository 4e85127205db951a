import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.classification.cdt_loss import CDTLoss, cdt_divisor

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])


def test_equals_cross_entropy_of_logits_divided_class_by_class():
    score = torch.randn(5, 4, dtype=torch.float64)
    divided = torch.stack([score[:, c] / (500 / n) ** 0.3 for c, n in enumerate(COUNTS)], dim=1)
    loss = CDTLoss(0.3, class_counts=COUNTS)(score, LABEL)
    torch.testing.assert_close(loss, F.cross_entropy(divided, LABEL))


def test_the_head_is_not_divided():
    divisor = cdt_divisor(np.array([500, 60, 0, 3]), 0.3)
    assert divisor[0] == divisor[2] == 1
    assert divisor[3] > divisor[1] > 1


def test_a_class_without_samples_has_no_part_and_no_gradient():
    score = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    loss = CDTLoss(0.3, class_counts=[500, 60, 0, 3])(score, torch.tensor([0, 1, 3, 3, 1]))
    loss.backward()
    assert not score.grad[:, 2].any()
    others = CDTLoss(0.3, class_counts=[500, 60, 3])(score[:, [0, 1, 3]], torch.tensor([0, 1, 2, 2, 1]))
    torch.testing.assert_close(loss, others)


def test_strength_out_of_range_is_refused_at_build():
    with pytest.raises(ValueError, match='Expected `gamma` to be at least 0, but got -1'):
        CDTLoss(-1)
