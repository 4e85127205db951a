"""Promises of every multi-label loss; for torch.compile see ../test_compile.py."""

import numpy as np
import pytest
import torch

from ltmm import ClassDistribution
from ltmm.models.losses.multi_label.base import MultiLabelPriorLoss
from ltmm.registry import MODELS

COUNTS = [500, 60, 20, 3]
DB = dict(type='ltmm.DistributionBalancedLoss')
REBALANCE = dict(DB, alpha=0.1, beta=10.0, mu=0.2)
FOCAL = dict(focal_gamma=2.0, balance=2.0)
LOSSES = {
    'bce': dict(type='ltmm.MultiLabelBCELoss'),
    'focal': dict(type='ltmm.MultiLabelFocalLoss', gamma=2.0, balance=2.0),
    'k_positive': dict(type='ltmm.KPositiveCELoss'),
    'r_bce': REBALANCE,
    'r_bce_focal': dict(REBALANCE, **FOCAL),
    'db_0fl': dict(REBALANCE, neg_scale=2.0, init_bias=0.05),
    'db': dict(REBALANCE, neg_scale=2.0, init_bias=0.05, **FOCAL),
    'ntr_focal': dict(DB, reweight=None, neg_scale=5.0, init_bias=0.05, divide_init_bias=False, **FOCAL),
    'inv': dict(DB, reweight='inv', weight_norm='by_instance'),
    'sqrt_inv': dict(DB, reweight='sqrt_inv', weight_norm='by_batch', **FOCAL),
    'rebalance_by_batch': dict(REBALANCE, weight_norm='by_batch'),
    **{
        f'cb_{mode}': dict(DB, reweight='CB', cb_beta=0.9, cb_mode=mode, **FOCAL)
        for mode in ('by_class', 'average_n', 'average_w', 'min_n')
    },
    'ldam': dict(type='ltmm.MultiLabelLDAMLoss'),
    'asl': dict(type='ltmm.ASLLoss'),
    'asl_undetached': dict(type='ltmm.ASLLoss', gamma_pos=1.0, gamma_neg=3.0, clip=0.0, detach_focus=False),
    'hill': dict(type='ltmm.HillLoss'),
    'splc': dict(type='ltmm.SPLCLoss', start_epoch=0),
    'partial_negative': dict(type='ltmm.PartialASLLoss', mode='negative'),
    'partial_ignore': dict(type='ltmm.PartialASLLoss', mode='ignore'),
    'partial_normalize': dict(type='ltmm.PartialASLLoss', mode='ignore_normalize'),
    'partial_selective': dict(type='ltmm.PartialASLLoss', mode='selective', topk=1, prior_threshold=0.5),
    'modifier_prior': dict(type='ltmm.MultiFocalModifierLoss'),
    'modifier_grained': dict(type='ltmm.MultiFocalModifierLoss', form='multi_grained'),
    'modifier_undetached': dict(type='ltmm.MultiFocalModifierLoss', gamma_pos=1.0, detach_focus=False),
    'corrector': dict(type='ltmm.ReflectiveLabelCorrectorLoss', start_epoch=0),
}
DETACHED = ('asl', 'partial', 'modifier_prior', 'modifier_grained', 'corrector')  # the gradient is not the derivative
PRIOR = [name for name in LOSSES if issubclass(MODELS.get(LOSSES[name]['type']), MultiLabelPriorLoss)]
TARGET = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1], [1, 1, 1, 1]])


def each(*names):
    return pytest.mark.parametrize('cfg', [pytest.param(LOSSES[name], id=name) for name in names or LOSSES])


def build(cfg, counts=COUNTS):
    """The loss, with the class distribution of the training data and in its first epoch."""
    loss = MODELS.build(cfg)
    if hasattr(loss, 'set_class_distribution'):
        together = np.minimum.outer(counts, counts) // 2
        np.fill_diagonal(together, counts)
        loss.set_class_distribution(ClassDistribution(counts, num_images=max(counts) + 40, co_occurrence=together))
    if hasattr(loss, 'set_progress'):
        loss.set_progress(0, 1)
    return loss.eval()  # nothing is counted


def value_and_grad(loss, score, target):
    score = score.detach().requires_grad_()
    value = loss(score, target, avg_factor=len(score))
    value.sum().backward()
    return value.detach(), score.grad


@each()
def test_large_logits(cfg):
    score = torch.tensor([[1e4, -1e4, 0, 0], [-1e4, 1e4, 0, 1e4], [1e4] * 4, [-1e4] * 4, [0.0] * 4])
    value, grad = value_and_grad(build(cfg), score, TARGET)
    assert value.isfinite() and grad.isfinite().all()


@each()
@pytest.mark.parametrize('counts', [[500, 60, 0, 3], [540, 60, 20, 3], [1, 1, 1, 1]])
def test_classes_in_no_image_or_in_all(cfg, counts):
    value, grad = value_and_grad(build(cfg, counts), torch.randn(5, 4), TARGET)
    assert value.isfinite() and grad.isfinite().all()


@each()
def test_images_without_positives(cfg):
    value, grad = value_and_grad(build(cfg), torch.randn(5, 4), torch.zeros(5, 4))
    assert value.isfinite() and value >= 0 and grad.isfinite().all()


@each()
def test_empty_batch(cfg):
    value, grad = value_and_grad(build(cfg), torch.zeros(0, 4), torch.zeros(0, 4))
    assert value == 0 and grad.shape == (0, 4)


@each()
def test_mixed_precision(cfg):
    loss, score = build(cfg), torch.randn(5, 4).bfloat16()
    expected, expected_grad = value_and_grad(loss, score.float(), TARGET)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value, grad = value_and_grad(loss, score, TARGET)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(grad, expected_grad.bfloat16())


@each(*(name for name in LOSSES if not name.startswith(DETACHED)))
def test_gradient(cfg):
    loss, score = build(cfg), torch.randn(5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: loss(z, TARGET), score, rtol=1e-5, atol=1e-6)


@each()
def test_unknown_labels(cfg):
    loss, target = build(cfg), TARGET.clone()
    target[0, 1], target[2] = -1, -1
    if loss.accepts_unknown:
        value, grad = value_and_grad(loss, torch.randn(5, 4), target)
        assert value.isfinite() and grad.isfinite().all()
    else:
        with pytest.raises(ValueError, match='does not support unknown labels, but image 0'):
            loss(torch.randn(5, 4), target)


@each()
def test_inputs_and_buffers_stay(cfg):
    loss, score, target = build(cfg), torch.randn(5, 4, dtype=torch.float64), TARGET.double()
    before = [tensor.clone() for tensor in (score, target, *loss.buffers())]
    first = loss(score.requires_grad_(), target)
    torch.testing.assert_close(loss(score, target), first, rtol=0, atol=0)
    torch.testing.assert_close([score.detach(), target, *loss.buffers()], before, rtol=0, atol=0)


@each(*(name for name in PRIOR if 'partial' not in name))
def test_checkpoint_has_the_class_distribution(cfg):
    loss, fresh = build(cfg), MODELS.build(cfg).eval()
    with pytest.raises(RuntimeError, match='needs the class distribution'):
        fresh(torch.zeros(5, 4), TARGET)
    fresh.load_state_dict(loss.state_dict())
    if hasattr(fresh, 'set_progress'):
        fresh.set_progress(0, 1)
    score = torch.randn(5, 4)
    torch.testing.assert_close(fresh(score, TARGET), loss(score, TARGET))


@each(*(name for name in PRIOR if name not in ('partial_negative', 'partial_ignore', 'partial_normalize')))
def test_another_number_of_classes_is_refused(cfg):
    with pytest.raises(ValueError, match='expected logits of 4 classes'):
        build(cfg)(torch.zeros(5, 3), TARGET[:, :3])
