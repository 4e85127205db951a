import math

import numpy as np
import pytest
import torch
from toy_ranks import on_ranks

from ltmm.models.losses.base import mean_over_ranks
from ltmm.registry import MODELS
from ltmm.tasks.super_resolution import FocalPixelLoss, PixelLoss, focal_pixel_weight
from ltmm.utils.errors import InputError

SHAPE = (4, 3, 6, 5)


def images(shape=SHAPE, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(shape, generator=generator, dtype=dtype) for _ in range(3)]


def naive(pred, target, prior, settings, norm):
    """Loss and gradient, pixel by pixel."""
    pred, target, prior = (image.numpy() for image in (pred, target, prior))
    errors = abs(target - prior), abs(target - pred)
    total, grad = 0.0, np.zeros(pred.shape)
    for index in np.ndindex(pred.shape):
        weight = 1.0
        for error, (alpha, gamma) in zip(errors, settings):
            around = error if norm == 'batch' else error[index[0]]
            share = (error[index] - around.min()) / (around.max() - around.min())
            weight *= gamma * math.exp(alpha * share)
        total += weight * errors[1][index] / pred.size
        grad[index] = -weight * np.sign(target[index] - pred[index]) / pred.size
    return total, grad


@pytest.mark.parametrize('norm', ['batch', 'image'])
def test_formula_and_gradient(norm):
    pred, target, prior = images()
    pred.requires_grad_()
    config = dict(alpha_static=2.0, gamma_static=0.3, alpha_learnable=0.5, gamma_learnable=1.5, norm=norm)
    value = MODELS.build(dict(type='ltmm.FocalPixelLoss', loss_weight=3.0, **config))(pred, target, prior)
    value.backward()
    expected, grad = naive(pred.detach(), target, prior, [(2.0, 0.3), (0.5, 1.5)], norm)
    np.testing.assert_allclose(value.item(), 3 * expected, rtol=1e-12)
    np.testing.assert_allclose(pred.grad, 3 * grad, rtol=1e-12)


def test_range_of_weights():
    error = images()[0]
    weight = focal_pixel_weight(error, alpha=1.5, gamma=0.5)
    assert weight.min() == 0.5
    torch.testing.assert_close(weight.max(), torch.tensor(0.5 * math.exp(1.5)).double())
    assert (error.flatten()[weight.flatten().argsort()].diff() >= 0).all()


def test_equal_errors_get_the_smallest_weight():
    assert focal_pixel_weight(torch.full((2, 3), 0.3), gamma=0.5).tolist() == [[0.5] * 3] * 2
    flat = torch.zeros(SHAPE)
    assert FocalPixelLoss()(flat, flat, flat) == 0


def test_without_priors_it_is_l1():
    pred, target, prior = images()
    l1 = torch.nn.functional.l1_loss(pred, target)
    torch.testing.assert_close(PixelLoss()(pred, target, prior), l1)
    focal = FocalPixelLoss(alpha_static=0, gamma_static=1, alpha_learnable=0)
    torch.testing.assert_close(focal(pred, target, prior), l1)


@pytest.mark.parametrize('norm, independent', [('image', True), ('batch', False)])
def test_norm_per_image_ignores_the_other_images(norm, independent):
    pred, target, prior = images()
    loss, others = FocalPixelLoss(norm=norm), pred.clone()
    others[1:] += 5
    grads = []
    for image in (pred, others):
        image.requires_grad_()
        loss(image, target, prior).backward()
        grads.append(image.grad[0])
    assert torch.equal(*grads) is independent
    assert loss.needs_whole_batch is not independent


@pytest.mark.parametrize('norm', ['batch', 'image'])
def test_empty_batch(norm):
    pred, target, prior = (image.requires_grad_() for image in images((0, 3, 4, 4)))
    value = FocalPixelLoss(norm=norm)(pred, target, prior)
    value.backward()
    assert value == 0 and pred.grad.shape == (0, 3, 4, 4)


def test_bfloat16_is_computed_in_float32():
    halves = [image.bfloat16() for image in images()]
    value = FocalPixelLoss()(*halves)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, FocalPixelLoss()(*(image.float() for image in halves)))


def test_two_ranks_learn_as_one_process(tmp_path):
    pred, target, prior = images()
    whole = pred.clone().requires_grad_()
    loss = FocalPixelLoss()
    loss(whole, target, prior).backward()

    def learn(rank):
        rows = slice(2 * rank, 2 * rank + 2)
        own = pred.clone().requires_grad_()
        loss(own[rows], target[rows], prior[rows]).backward()
        return mean_over_ranks(own.grad)  # as DDP does

    for grad in on_ranks(learn, tmp_path):
        torch.testing.assert_close(grad, whole.grad)


@pytest.mark.parametrize(
    'bad', [dict(norm='pixel'), dict(alpha_static=-1), dict(gamma_learnable=0), dict(loss_weight=-1)]
)
def test_invalid_arguments(bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        FocalPixelLoss(**bad)


def test_shapes_have_to_agree():
    pred, target, prior = images()
    with pytest.raises(InputError, match='of one shape'):
        FocalPixelLoss()(pred, target[:, :, 1:], prior)
