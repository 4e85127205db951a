import math

import numpy as np
import pytest
import torch

from ltmm.models.losses import LabelAwareSmoothingLoss
from ltmm.models.losses.classification.label_aware_smoothing_loss import label_aware_smoothing
from ltmm.utils.errors import InputError

COUNTS = [500, 60, 20, 3]
SHAPES = {  # as the paper writes them, of x = n - n_min and d = n_max - n_min
    'concave': lambda x, d, h, t: t + (h - t) * math.sin(math.pi * x / (2 * d)),
    'linear': lambda x, d, h, t: t + (h - t) * x / d,
    'convex': lambda x, d, h, t: h + (h - t) * math.sin(1.5 * math.pi + math.pi * x / (2 * d)),
    'exp': lambda x, d, h, t: t + (h - t) * (x / d) ** 3,
}


def smoothed(counts=COUNTS, **kwargs) -> LabelAwareSmoothingLoss:
    return LabelAwareSmoothingLoss(**{'smooth_head': 0.4, 'smooth_tail': 0.1, 'class_counts': counts, **kwargs})


@pytest.mark.parametrize('shape', SHAPES)
def test_smoothing_follows_its_shape(shape):
    loss = smoothed(shape=shape, power=3 if shape == 'exp' else None)
    expected = [SHAPES[shape](n - 3, 497, 0.4, 0.1) for n in COUNTS]
    np.testing.assert_allclose(loss.smoothing, expected, rtol=1e-12)
    assert expected[0] == pytest.approx(0.4) and expected[3] == pytest.approx(0.1)


@pytest.mark.parametrize('counts, expected', [([7, 7, 7], [0.4] * 3), ([9], [0.4]), ([7, 0, 7], [0.4, 0.1, 0.4])])
@pytest.mark.parametrize('shape', ['concave', 'linear', 'convex'])
def test_equally_frequent_and_empty_classes(counts, expected, shape):
    np.testing.assert_allclose(label_aware_smoothing(np.array(counts), 0.4, 0.1, shape), expected)


def test_empty_class_does_not_change_the_others():
    with_empty = label_aware_smoothing(np.array([500, 0, 60, 3]), 0.4, 0.1, 'linear')
    np.testing.assert_allclose(with_empty[[0, 2, 3]], label_aware_smoothing(np.array([500, 60, 3]), 0.4, 0.1, 'linear'))
    assert with_empty[1] == 0.1


def test_loss_entry_by_entry():
    score, label, loss = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 3, 3, 2]), smoothed()
    expected = 0.0
    for z, y in zip(score.tolist(), label.tolist()):
        norm = math.log(sum(math.exp(v) for v in z))
        e = loss.smoothing[y].item()
        expected += sum(((1 - e) * (c == y) + e / 4) * (norm - z[c]) for c in range(4)) / 5
    assert loss(score, label).item() == pytest.approx(expected, rel=1e-12)


def test_variant_of_the_paper_has_another_rate():
    """1 - e for the class and e / (C - 1) for the others is the loss with e C / (C - 1)."""
    score, label = torch.randn(3, 4, dtype=torch.float64), torch.tensor([0, 0, 0])
    log_p, e = score.log_softmax(1), 0.3
    target = torch.tensor([1 - e, e / 3, e / 3, e / 3], dtype=torch.float64)
    loss = smoothed(smooth_head=e * 4 / 3, smooth_tail=0.0)
    torch.testing.assert_close(loss(score, label), -(log_p @ target).mean())


def test_soft_labels_add_the_losses_of_their_classes():
    score, soft, loss = torch.randn(3, 4), torch.rand(3, 4).softmax(1), smoothed()
    each = [loss(score, torch.full((3,), c), reduction_override='none') for c in range(4)]
    expected = (soft * torch.stack(each, dim=1)).sum(1).mean()
    torch.testing.assert_close(loss(score, soft), expected)


def test_one_class_has_no_loss():
    score = torch.randn(3, 1, requires_grad=True)
    value = smoothed([9])(score, torch.zeros(3, dtype=torch.long))
    value.backward()
    assert value == 0 and not score.grad.any()


@pytest.mark.parametrize(
    'kwargs',
    [dict(smooth_head=1.0), dict(smooth_tail=-0.1), dict(shape='cubic'), dict(power=2), dict(shape='exp')],
)
def test_bad_arguments(kwargs):
    with pytest.raises(InputError, match='|'.join([*kwargs, 'power'])):
        smoothed(**kwargs)
