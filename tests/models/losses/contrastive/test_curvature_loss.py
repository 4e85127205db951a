import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ltmm.models.losses import CurvatureLoss, LossInputs
from ltmm.models.losses.contrastive.curvature_loss import (
    class_curvatures,
    curvature_imbalance,
    curvature_weight,
    gaussian_curvature,
    rows_by_class,
)
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

C, D = 4, 6
SETTINGS = dict(in_channels=D, queue_size=40, k=4, dim=3, per_class=8)


def paraboloid(a: float, b: float, angle: float = 0.0) -> torch.Tensor:
    """The origin and a grid around it on z = (a x^2 + b y^2) / 2, turned in space."""
    grid = torch.cartesian_prod(*[torch.linspace(-0.1, 0.1, 5, dtype=torch.float64)] * 2)
    surface = torch.column_stack([grid, (a * grid[:, :1] ** 2 + b * grid[:, 1:] ** 2) / 2])
    surface = surface[[12, *range(12), *range(13, 25)]]  # the origin first
    turn = torch.tensor([[1, 0, 0], [0, math.cos(angle), math.sin(angle)], [0, -math.sin(angle), math.cos(angle)]])
    return surface @ turn.double()


def all_others(points: torch.Tensor) -> torch.Tensor:
    """Every other point as neighbor, (P, P - 1)."""
    num = len(points)
    return torch.arange(num).expand(num, num)[~torch.eye(num, dtype=torch.bool)].view(num, num - 1)


@pytest.mark.parametrize('a, b, angle', [(3, 2, 0), (3, -2, 0.7), (0, 2, 0.4), (0, 0, 1.0)])
def test_curvature_of_a_paraboloid(a, b, angle):
    points = paraboloid(a, b, angle)
    curvature = gaussian_curvature(points, all_others(points), ridge=0.0)[0]
    assert curvature.item() == pytest.approx(abs(a * b), rel=1e-3, abs=1e-6)
    doubled = gaussian_curvature(2 * points, all_others(points), ridge=0.0)[0]
    assert doubled.item() == pytest.approx(abs(a * b) / 4, rel=1e-3, abs=1e-6)  # of m = 2: 1 / radius squared


def naive_curvature(point, neighbors, fixed_point, fixed_neighbors):
    """The formula for one point, with numpy's least squares; only the heights follow `point` and `neighbors`."""
    centered = fixed_neighbors - fixed_neighbors.mean(axis=0)
    axes = np.linalg.eigh(centered.T @ centered)[1]
    height = (neighbors - point) @ axes[:, 0]
    tangent = (fixed_neighbors - fixed_point) @ axes[:, 1:]
    m = tangent.shape[1]
    pairs = [(i, j) for i in range(m) for j in range(i, m)]
    design = np.stack([tangent[:, i] * tangent[:, j] * (0.5 if i == j else 1) for i, j in pairs], axis=1)
    entries = np.linalg.lstsq(design, height, rcond=None)[0]
    theta = np.zeros((m, m))
    for (i, j), entry in zip(pairs, entries):
        theta[i, j] = theta[j, i] = entry
    return abs(np.linalg.det(theta))


def test_equals_the_formula_with_gradient_through_the_heights():
    points = torch.randn(9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    neighbors = torch.cdist(points, points).argsort(1)[:, 1:6]
    fixed = points.numpy().copy()

    def naive(x):
        return np.array([naive_curvature(x[i], x[n], fixed[i], fixed[n]) for i, n in enumerate(neighbors.numpy())])

    points.requires_grad_()
    curvature = gaussian_curvature(points, neighbors, ridge=0.0)
    np.testing.assert_allclose(curvature.detach().numpy(), naive(fixed), rtol=1e-6)
    grad = torch.autograd.grad(curvature.log().sum(), points)[0].numpy()
    for i, j in [(0, 0), (3, 1), (8, 2)]:
        step = np.zeros_like(fixed)
        step[i, j] = 1e-6
        numeric = (np.log(naive(fixed + step)) - np.log(naive(fixed - step))).sum() / 2e-6
        assert grad[i, j] == pytest.approx(numeric, rel=1e-4)


def test_imbalance():
    curvature, valid = torch.tensor([2.0, 5.0, 0.1, 3.0]), torch.tensor([True, True, False, True])
    expected = math.log(2 / 2) + math.log(5 / 2) + math.log(3 / 2)
    assert curvature_imbalance(curvature, valid).item() == pytest.approx(expected)
    assert curvature_imbalance(7 * curvature, valid).item() == pytest.approx(expected, rel=1e-5)
    assert curvature_imbalance(torch.full((4,), 3.0), valid) == 0
    for num in (0, 1):  # valid classes
        curvature.grad = None
        loss = curvature_imbalance(curvature.requires_grad_(), torch.arange(4) < num)
        loss.backward()
        assert loss == 0 and not curvature.grad.any()


def test_weight():
    assert [curvature_weight(epoch, 100) for epoch in (1, 10, 100)] == pytest.approx([0, 0.5, 1])


def test_rows_by_class():
    label = torch.tensor([2, 0, -1, 2, 2, 0, -1, 2])
    rows, filled = rows_by_class(label, num_classes=4, size=3)
    assert filled.tolist() == [[True, True, False], [False] * 3, [True] * 3, [False] * 3]
    assert rows[0, :2].tolist() == [1, 5] and rows[2].tolist() == [0, 3, 4]


def test_classes_with_k_features_are_left_out():
    features, settings = torch.randn(14, D, dtype=torch.float64), dict(num_classes=C, k=4, dim=3, size=8)
    label = torch.tensor([0] * 5 + [1] * 4 + [3] * 5)
    curvature, valid = class_curvatures(features, label, torch.arange(14), **settings)
    assert valid.tolist() == [True, False, False, True] and curvature.isfinite().all()
    assert curvature[valid].min() > 0 and not curvature[~valid].any()


def case(rows: int = 30, seed: int = 0, dtype=torch.float32) -> LossInputs:
    draw = dict(generator=torch.Generator().manual_seed(seed))
    features = torch.randn(rows, D, dtype=dtype, **draw).requires_grad_()
    label = torch.randint(C, (rows,), **draw)
    return LossInputs(label, cls_score=torch.zeros(rows, C), features=features, loss=torch.tensor(2.5, dtype=dtype))


def build(epoch: int = 4, max_epochs: int = 20, **settings) -> CurvatureLoss:
    loss = CurvatureLoss(**{**SETTINGS, **settings})
    loss.set_progress(epoch, max_epochs)
    return loss


def test_value_is_a_share_of_the_main_loss():
    for epoch, tau in ((0, None), (4, None), (9, None), (4, 7.0)):
        inputs = case()
        value = build(epoch, tau=tau)(inputs)['loss_curvature']
        assert value.item() == pytest.approx(math.log(epoch + 1, tau or 10) * 2.5, rel=1e-5)
        grad = torch.autograd.grad(value, inputs.features)[0]
        assert grad.isfinite().all() and grad.any() == (epoch > 0)


def test_gradient_has_the_direction_of_the_imbalance():
    inputs = case(dtype=torch.float64)
    grad = torch.autograd.grad(build()(inputs)['loss_curvature'], inputs.features)[0]
    settings = dict(num_classes=C, k=4, dim=3, size=8)
    curvature = class_curvatures(inputs.features, inputs.label, torch.arange(30), **settings)
    imbalance = curvature_imbalance(*curvature)
    direction = torch.autograd.grad(imbalance, inputs.features)[0]
    scale = math.log(5, 10) * 2.5 / imbalance.item()
    torch.testing.assert_close(grad, scale * direction)


def test_a_head_adds_it_to_its_loss():
    head = MODELS.build(
        dict(type='ltmm.LongTailClsHead', num_classes=C, in_channels=D)
        | dict(aux_losses=[dict(SETTINGS, type='ltmm.CurvatureLoss')])
    )
    head.aux_losses[0].objective.set_progress(4, 20)
    inputs = case()
    terms = head.compute_losses(replace(inputs, loss=None, cls_score=inputs.features @ torch.ones(D, C)))
    main = terms.pop('loss_cls')
    assert terms.pop('loss_curvature').item() == pytest.approx(math.log(5, 10) * main.item(), rel=1e-5)
    assert not terms


def test_the_queue_joins_the_batch_and_is_resumed():
    loss = build()
    batches = [case(12, seed) for seed in range(6)]
    for inputs in batches[:-1]:
        loss(inputs)
    resumed = build()
    resumed.load_state_dict(loss.state_dict())
    assert loss.queue.num_filled == 40
    values = [
        torch.autograd.grad(each(batches[-1])['loss_curvature'], batches[-1].features)[0] for each in (loss, resumed)
    ]
    assert torch.equal(*values)
    alone = torch.autograd.grad(build()(batches[-1])['loss_curvature'], batches[-1].features)[0]
    assert values[0].any() and not torch.allclose(values[0], alone)


def test_newest_features_of_a_class_count():
    """40 old features of class 0 do not matter beside 8 new ones."""
    settings, grads = dict(queue_size=80, per_class=8), []
    for scale in (1, 100):
        loss = build(**settings)
        old = case(40, 1)
        loss(replace(old, features=scale * old.features.detach(), label=torch.zeros_like(old.label)))
        for seed in (2, 3):
            loss(case(40, seed))
        inputs = case(30, 4)
        grads.append(torch.autograd.grad(loss(inputs)['loss_curvature'], inputs.features)[0])
    assert torch.equal(*grads) and grads[0].any()


def test_evaluation_leaves_the_queue_alone():
    loss = build().eval()
    loss(case())
    assert loss.queue.num_filled == 0


@pytest.mark.parametrize('epoch', [0, 4])
def test_degenerate_features(epoch):
    """Without variance, or with one class, the loss is 0 and its gradient finite."""
    constant = torch.ones(30, D, requires_grad=True)
    for inputs in (replace(case(), features=constant), replace(case(), label=torch.zeros(30, dtype=torch.long))):
        value = build(epoch)(inputs)['loss_curvature']
        (grad,) = torch.autograd.grad(value, inputs.features)
        assert value == 0 and not grad.any()
    few = build(epoch)(case(3))['loss_curvature']  # no class has more than k features
    assert few == 0 and few.requires_grad


def test_mixed_precision():
    inputs = case()
    features = inputs.features.detach().bfloat16()
    expected = build()(replace(inputs, features=features.float()))['loss_curvature']
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = build()(replace(inputs, features=features))['loss_curvature']
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    'settings', [dict(k=2), dict(k=8), dict(queue_size=4), dict(dim=7, k=30), dict(dim=1), dict(tau=1.0), dict(eps=0)]
)
def test_bad_settings(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        build(**settings)


def test_labels_and_heads_that_do_not_fit():
    inputs = case()
    with pytest.raises(InputError, match='soft labels'):
        build()(replace(inputs, label=torch.rand(30, C)))
    with pytest.raises(InputError, match=r'expected features \(N, in_channels=6\), but got \(30, 5\)'):
        build()(replace(inputs, features=torch.rand(30, 5)))
    with pytest.raises(InputError, match='classification heads'):
        build()(replace(inputs, weight=torch.ones(30)))
