"""Properties of every classification loss."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from toy_losses import prepare

from ltmm.registry import MODELS

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])
LDAM = dict(type='ltmm.LDAMLoss')
PRIOR_LOSSES = [
    dict(type='ltmm.AREAReweighting', loss=dict(type='mmpretrain.CrossEntropyLoss'), start_epoch=0),
    dict(type='ltmm.BalancedBCELoss', smoothing=0.1),
    dict(type='ltmm.BalancedSoftmaxLoss'),
    dict(type='ltmm.BalancedSoftmaxLoss', tau=1.05),
    dict(type='ltmm.ClassBalancedBCELoss', smoothing=0.1),
    dict(type='ltmm.BayiasLoss', test_prior=[1, 2, 3, 4]),
    dict(type='ltmm.LogitAdjustmentLoss', tau=1.5),
    dict(type='ltmm.CDTLoss', gamma=0.3),
    dict(type='ltmm.VSLoss', gamma=0.2, tau=1.2),
    dict(type='ltmm.LabelAwareSmoothingLoss', smooth_head=0.4, smooth_tail=0.1),
    LDAM,
    dict(type='ltmm.ReweightedLoss', loss=dict(type='mmpretrain.CrossEntropyLoss'), kind='inverse'),
    dict(type='ltmm.DeferredReweighting', loss=LDAM, start_epoch=0, kind='effective_number', beta=0.99),
    dict(type='ltmm.ClassBalancedLoss', loss_type='softmax', beta=0.99),
    dict(type='ltmm.ClassBalancedLoss', loss_type='sigmoid', beta=0.99),
    dict(type='ltmm.ClassBalancedLoss', loss_type='focal', beta=0.99, gamma=0.5),
]
GML = dict(type='ltmm.GeometricMeanLoss')  # one number per batch
FOCAL_LOSSES = [dict(type='ltmm.SoftmaxFocalLoss', gamma=0.5), dict(type='ltmm.SigmoidFocalLoss', gamma=0.5)]
PLAIN_LOSSES = [  # some of which take no soft labels
    *FOCAL_LOSSES,
    dict(type='ltmm.ASLSingleLabelLoss', smoothing=0.0),
    dict(type='ltmm.SoftmaxBCELoss'),
    dict(type='ltmm.SoftmaxEQLLoss', lambda_=0.1, drop_prob=1.0),
]


def name_of(cfg: dict) -> str:
    return '-'.join([cfg['type'].removeprefix('ltmm.'), cfg.get('loss_type', '')]).rstrip('-')


def each(*configs: dict) -> pytest.MarkDecorator:
    return pytest.mark.parametrize('cfg', configs, ids=name_of)


def build(cfg: dict, counts: list[int] = COUNTS) -> nn.Module:
    return prepare(MODELS.build(cfg), counts)


def value_and_grad(loss: nn.Module, score: torch.Tensor, label: torch.Tensor, **kwargs) -> tuple:
    score = score.detach().requires_grad_()
    value = loss(score, label, avg_factor=len(score), **kwargs)
    value.sum().backward()
    return value.detach(), score.grad


@each(*PRIOR_LOSSES, GML, *PLAIN_LOSSES)
def test_large_logits(cfg):
    score = torch.tensor([[1e4, -1e4, 0, 0], [-1e4, 1e4, 0, 1e4], [1e4] * 4, [-1e4] * 4, [0.0] * 4])
    value, grad = value_and_grad(build(cfg), score, torch.tensor([0, 0, 1, 2, 3]))
    assert value.isfinite() and grad.isfinite().all()


@each(*PRIOR_LOSSES, GML)
def test_class_without_samples(cfg):
    for label in (torch.tensor([0, 1, 3, 3, 1]), torch.rand(5, 4)):  # soft labels for that class too
        value, grad = value_and_grad(build(cfg, [500, 60, 0, 3]), torch.randn(5, 4), label)
        assert value.isfinite() and grad.isfinite().all()


@each(*(cfg for cfg in PRIOR_LOSSES if cfg['type'] in ('ltmm.BalancedSoftmaxLoss', 'ltmm.CDTLoss', 'ltmm.VSLoss')))
def test_class_without_samples_is_left_out_of_the_softmax(cfg):
    score = torch.randn(5, 4, dtype=torch.float64)
    value, grad = value_and_grad(build(cfg, [500, 60, 0, 3]), score, torch.tensor([0, 1, 3, 3, 1]))
    others, _ = value_and_grad(build(cfg, [500, 60, 3]), score[:, [0, 1, 3]], torch.tensor([0, 1, 2, 2, 1]))
    torch.testing.assert_close(value, others)
    assert not grad[:, 2].any()


@each(*PRIOR_LOSSES, GML, *PLAIN_LOSSES)
def test_empty_batch(cfg):
    score = torch.zeros(0, 4, requires_grad=True)
    value = build(cfg)(score, torch.zeros(0, dtype=torch.long), avg_factor=1)
    value.backward()
    assert value == 0 and score.grad.shape == (0, 4)


@each(*PRIOR_LOSSES, GML, *PLAIN_LOSSES)
def test_mixed_precision(cfg):
    loss, score = build(cfg), torch.randn(5, 4).bfloat16()
    expected, expected_grad = value_and_grad(loss, score.float(), LABEL)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value, grad = value_and_grad(loss, score, LABEL)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(grad, expected_grad.bfloat16())


@each(*PRIOR_LOSSES, GML, *FOCAL_LOSSES)
def test_one_hot_labels_equal_class_indices(cfg):
    loss, score = build(cfg), torch.randn(5, 4)
    hard, soft = (value_and_grad(loss, score, label) for label in (LABEL, F.one_hot(LABEL, 4).float()))
    torch.testing.assert_close(soft, hard)


@each(*PRIOR_LOSSES, *PLAIN_LOSSES)
def test_reductions_and_sample_weights(cfg):
    loss, score, weight = build(cfg), torch.randn(5, 4), torch.tensor([1.0, 0.0, 2.0, 1.0, 0.5])
    each_one = loss(score, LABEL, weight, reduction_override='none')
    assert each_one.shape == (5,) and each_one[1] == 0
    torch.testing.assert_close(loss(score, LABEL, weight, reduction_override='sum'), each_one.sum())
    mean = loss(score, LABEL, weight, avg_factor=10)
    torch.testing.assert_close(mean, loss(score, LABEL, weight) / 2)


@each(*PRIOR_LOSSES, GML, *FOCAL_LOSSES)
def test_no_synchronization(cfg):
    """Fake tensors hold no numbers: .item(), bool() or a shape that depends on numbers raises."""
    loss = build(cfg)
    with FakeTensorMode(allow_non_fake_inputs=True):
        score = torch.rand(5, 4, requires_grad=True)
        with pytest.raises(DataDependentOutputException):
            score.sum().item()
        for label in (torch.zeros(5, dtype=torch.long), torch.rand(5, 4)):
            loss(score, label, avg_factor=5).backward()
            assert score.grad.shape == (5, 4)


@each(*PRIOR_LOSSES, GML)
def test_checkpoint_carries_the_class_distribution(cfg):
    trained, fresh, score = build(cfg), MODELS.build(cfg), torch.randn(5, 4)
    fresh.load_state_dict(trained.state_dict())
    if hasattr(fresh, 'set_progress'):
        fresh.set_progress(0, 1)
    torch.testing.assert_close(fresh(score, LABEL), trained(score, LABEL), rtol=0, atol=0)


@each(*PRIOR_LOSSES, GML)
def test_needs_a_distribution(cfg):
    loss = MODELS.build(cfg)
    if hasattr(loss, 'set_progress'):
        loss.set_progress(0, 1)
    with pytest.raises(RuntimeError, match=r' needs .*class_counts=\[\.\.\.\].*ClassDistributionHook'):
        loss(torch.randn(5, 4), LABEL)


@each(*PRIOR_LOSSES, GML)
def test_logits_of_other_classes(cfg):
    with pytest.raises(ValueError, match=r'expected logits of 4 classes.*got shape \(5, 5\)'):
        build(cfg)(torch.randn(5, 5), LABEL)
