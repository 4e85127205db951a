import pytest
import torch

from ltmm.models.losses.multi_label import HeadTailBalancerLoss
from ltmm.registry import MODELS

MODIFIER = dict(type='ltmm.MultiFocalModifierLoss', form='multi_grained', class_counts=[9, 4, 2])
TARGET = torch.tensor([[1.0, 0, 0], [0, 1, -1]])


def logits(seed: int) -> torch.Tensor:
    return torch.randn(2, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize('gamma', [0.0, 2.0])
def test_equals_the_formula(gamma):
    head, tail, balanced = (logits(seed) for seed in range(3))
    value = HeadTailBalancerLoss(loss=MODIFIER, gamma=gamma)(head, tail, balanced, TARGET)
    modifier = MODELS.build(MODIFIER)
    a, b = (modifier(score, TARGET) ** gamma for score in (head, tail))
    x, y = (modifier(score.softmax(1) * balanced.softmax(1), TARGET) for score in (head, tail))
    torch.testing.assert_close(value, a / (a + b) * x + b / (a + b) * y)


def test_head_and_tail_get_a_gradient_through_the_weights_only():
    head, tail, balanced = (logits(seed) for seed in range(3))
    HeadTailBalancerLoss(loss=MODIFIER)(head, tail, balanced, TARGET).backward()
    assert all((score.grad != 0).any() for score in (head, tail, balanced))
    head.grad = tail.grad = None
    HeadTailBalancerLoss(loss=MODIFIER, gamma=0.0)(head, tail, balanced, TARGET).backward()
    assert (head.grad == 0).all() and (tail.grad == 0).all()


def test_nothing_to_learn_gives_zero():
    unknown = torch.full((2, 3), -1.0)
    head, tail, balanced = (logits(seed) for seed in range(3))
    value = HeadTailBalancerLoss(loss=MODIFIER)(head, tail, balanced, unknown)
    value.backward()
    assert value == 0 and balanced.grad.isfinite().all()


def test_mixed_precision_computes_in_float32():
    scores = [logits(seed).detach().bfloat16() for seed in range(3)]
    loss = HeadTailBalancerLoss(loss=MODIFIER)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(*scores, TARGET)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(*(score.float() for score in scores), TARGET))


def test_in_another_head_it_is_refused():
    head = dict(type='ltmm.MultiLabelClsHead', num_classes=3, in_channels=2)
    with pytest.raises(TypeError, match='accepts MultiLabelLoss or Objective, but got HeadTailBalancerLoss'):
        MODELS.build(dict(head, loss=dict(type='ltmm.HeadTailBalancerLoss', loss=MODIFIER)))


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(loss=MODIFIER, gamma=-1.0), 'Expected `gamma` to be at least 0, but got -1.0'),
        (dict(loss=MODIFIER, loss_weight=-1.0), 'Expected `loss_weight` to be at least 0, but got -1.0'),
        (
            dict(loss=dict(MODIFIER, reduction='none')),
            "needs one number of its loss, but got one with reduction='none'",
        ),
    ],
)
def test_refuses_what_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        HeadTailBalancerLoss(**options)
