import math

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn
from toy_detectors import DISTRIBUTION, NUM_CLASSES

from ltmm.models.state.running_sums import RunningGradients
from ltmm.registry import MODELS

EQLV2, EQL = dict(type='ltmm.EQLv2Loss'), dict(type='ltmm.EQLLoss', lambda_=0.1)
BOTH_HEADS = pytest.mark.parametrize('type, classifier', [('RetinaHead', 'retina_cls'), ('ATSSHead', 'atss_cls')])
BOTH_LOSSES = pytest.mark.parametrize('loss_cls', [EQL, EQLV2], ids=lambda cfg: cfg['type'])
META = dict(img_shape=(64, 64), pad_shape=(64, 64), scale_factor=(1.0, 1.0))
ASSIGNERS = dict(
    RetinaHead=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
    ATSSHead=dict(type='ATSSAssigner', topk=9),
)


@pytest.fixture(autouse=True)
def in_scope_mmdet():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def build(type: str, loss_cls: dict, scope: str = 'ltmm', **options) -> nn.Module:
    anchors = dict(type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0], strides=[8, 16])
    train_cfg = dict(assigner=ASSIGNERS[type], allowed_border=-1, pos_weight=-1)
    if type == 'RetinaHead':
        train_cfg['sampler'] = dict(type='PseudoSampler')
    else:
        options.update(norm_cfg=dict(type='GN', num_groups=2), loss_bbox=dict(type='GIoULoss'))
    head = MODELS.build(
        dict(
            type=f'{scope}.{type}',
            num_classes=NUM_CLASSES,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            anchor_generator=anchors,
            loss_cls=loss_cls,
            train_cfg=train_cfg,
            **options,
        )
    )
    head.init_weights()
    if hasattr(head.loss_cls, 'set_class_distribution'):
        head.loss_cls.set_class_distribution(DISTRIBUTION)
    return head


def losses_of(head: nn.Module) -> dict:
    from mmengine.structures import InstanceData

    torch.manual_seed(0)
    features = tuple(torch.randn(1, 8, size, size) for size in (8, 4))
    objects = InstanceData(bboxes=torch.tensor([[4.0, 4, 36, 36], [0, 0, 60, 60]]), labels=torch.tensor([0, 2]))
    return head.loss_by_feat(*head(features), [objects], [META])


@BOTH_HEADS
@BOTH_LOSSES
def test_width_and_bias_come_from_the_loss(type, classifier, loss_cls):
    head = build(type, loss_cls)
    assert getattr(head, classifier).out_channels == head.cls_out_channels == NUM_CLASSES and head.use_sigmoid_cls
    torch.testing.assert_close(getattr(head, classifier).bias, torch.full((NUM_CLASSES,), -math.log(0.999 / 0.001)))


@BOTH_HEADS
@BOTH_LOSSES
def test_trains(type, classifier, loss_cls):
    head = build(type, loss_cls)
    losses = losses_of(head)
    assert len(losses['loss_cls']) == 2 and all(loss.isfinite() for loss in losses['loss_cls'])
    sum(losses['loss_cls']).backward()
    assert getattr(head, classifier).weight.grad.any()


@BOTH_HEADS
def test_levels_are_one_update(type, classifier, monkeypatch):
    updates, add = [], RunningGradients._add
    monkeypatch.setattr(RunningGradients, '_add', lambda self, batch: (updates.append(batch), add(self, batch)))
    head = build(type, EQLV2)
    for num_iterations in (1, 2):
        losses_of(head)
        assert len(updates) == num_iterations
    assert head.loss_cls.gradients.positive[[0, 2]].all() and not head.loss_cls.gradients.positive[[1, 3]].any()


def test_ignored_anchors_are_not_gathered():
    head = build('RetinaHead', EQLV2)
    score, label = torch.zeros(3, NUM_CLASSES), torch.full((3,), NUM_CLASSES)
    head.loss_cls(score, label, torch.tensor([1.0, 0.0, 0.0]), avg_factor=1)
    assert head.loss_cls.gradients.negative.tolist() == [0.5] * NUM_CLASSES


@BOTH_HEADS
def test_other_losses_as_in_mmdet(type, classifier):
    ours, theirs = (build(type, dict(type='FocalLoss', use_sigmoid=True), scope=scope) for scope in ('ltmm', 'mmdet'))
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(losses_of(ours), losses_of(theirs))
    assert ours.init_cfg == theirs.init_cfg


def test_init_cfg_replaces_the_prior_bias():
    head = build('RetinaHead', EQLV2, init_cfg=dict(type='Normal', layer='Conv2d', std=0.01))
    assert not head.retina_cls.bias.any()
