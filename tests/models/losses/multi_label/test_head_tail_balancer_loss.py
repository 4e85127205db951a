import pytest
import torch

from ltmm.models.losses.multi_label import HeadTailBalancerLoss
from ltmm.registry import MODELS

MODIFIER = dict(type='ltmm.MultiFocalModifierLoss', form='multi_grained', class_counts=[9, 4, 2])
TARGET = torch.tensor([[1.0, 0, 0], [0, 1, -1]])


def logits(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize('gamma', [0.0, 2.0])
def test_formula(gamma):
    head, tail, balanced = (logits(seed) for seed in range(3))
    value = HeadTailBalancerLoss(loss=MODIFIER, gamma=gamma)(head, tail, balanced, TARGET)
    modifier = MODELS.build(MODIFIER)
    a, b = (modifier(score, TARGET) ** gamma for score in (head, tail))
    x, y = (modifier(score.softmax(1) * balanced.softmax(1), TARGET) for score in (head, tail))
    torch.testing.assert_close(value, a / (a + b) * x + b / (a + b) * y)


def test_gradient_of_head_and_tail():
    head, tail, balanced = (logits(seed) for seed in range(3))
    HeadTailBalancerLoss(loss=MODIFIER)(head, tail, balanced, TARGET).backward()
    assert all((score.grad != 0).any() for score in (head, tail, balanced))
    head.grad = tail.grad = None
    HeadTailBalancerLoss(loss=MODIFIER, gamma=0.0)(head, tail, balanced, TARGET).backward()
    assert (head.grad == 0).all() and (tail.grad == 0).all()


def test_no_known_label():
    unknown = torch.full((2, 3), -1.0)
    head, tail, balanced = (logits(seed) for seed in range(3))
    value = HeadTailBalancerLoss(loss=MODIFIER)(head, tail, balanced, unknown)
    value.backward()
    assert value == 0 and balanced.grad.isfinite().all()


def test_other_heads_refuse_it():
    head = dict(type='ltmm.MultiLabelClsHead', num_classes=3, in_channels=2)
    with pytest.raises(TypeError, match='accepts MultiLabelLoss or Objective, but got HeadTailBalancerLoss'):
        MODELS.build(dict(head, loss=dict(type='ltmm.HeadTailBalancerLoss', loss=MODIFIER)))
