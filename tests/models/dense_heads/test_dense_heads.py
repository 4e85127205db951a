import math

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn
from toy_losses import prepare

from ltmm.models.state.running_sums import RunningGradients
from ltmm.registry import MODELS

C = 4
EFL = dict(type='ltmm.EqualizedFocalLoss')
EQFL = dict(type='ltmm.EqualizedQualityFocalLoss')
EQLV2, EQL = dict(type='ltmm.EQLv2Loss'), dict(type='ltmm.EQLLoss', lambda_=0.1)
OBJECTS = InstanceData(bboxes=torch.tensor([[4.0, 4, 36, 36], [0, 0, 60, 60]]), labels=torch.tensor([0, 2]))
META = dict(img_shape=(64, 64), pad_shape=(64, 64), scale_factor=(1.0, 1.0))
ANCHORS = dict(
    num_classes=C,
    in_channels=8,
    feat_channels=8,
    stacked_convs=1,
    anchor_generator=dict(
        type='AnchorGenerator', octave_base_scale=4, scales_per_octave=1, ratios=[1.0], strides=[8, 16]
    ),
)
MAX_IOU = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1)
COSTS = [dict(type='FocalLossCost', weight=2.0), dict(type='BBoxL1Cost', weight=5.0, box_format='xywh')]
HEADS = dict(
    RetinaHead=dict(
        ANCHORS, train_cfg=dict(assigner=MAX_IOU, sampler=dict(type='PseudoSampler'), allowed_border=-1, pos_weight=-1)
    ),
    ATSSHead=dict(
        ANCHORS,
        norm_cfg=dict(type='GN', num_groups=2),
        loss_bbox=dict(type='GIoULoss'),
        train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1),
    ),
    GFLHead=dict(
        ANCHORS,
        norm_cfg=dict(type='GN', num_groups=2),
        loss_bbox=dict(type='GIoULoss'),
        train_cfg=dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1),
    ),
    DeformableDETRHead=dict(
        num_classes=C,
        embed_dims=16,
        num_pred_layer=3,
        sync_cls_avg_factor=True,
        train_cfg=dict(assigner=dict(type='HungarianAssigner', match_costs=COSTS)),
    ),
)
EACH_HEAD = pytest.mark.parametrize('type', [name for name in HEADS if name != 'GFLHead'])
LOSSES = [*((name, loss) for name in HEADS if name != 'GFLHead' for loss in (EFL, EQL, EQLV2)), ('GFLHead', EQFL)]


def build(type: str, loss_cls: dict, scope: str = 'ltmm', **options) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build(dict(HEADS[type], type=f'{scope}.{type}', loss_cls=loss_cls, **options))
    head.init_weights()
    return prepare(head, [40, 20, 5, 0], num_images=60)


def classifiers(head: nn.Module) -> list[nn.Module]:
    """Return the classifier, or those of all decoder layers."""
    names = ('retina_cls', 'atss_cls', 'gfl_cls', 'cls_branches.')
    return [module for name, module in head.named_modules() if name.startswith(names)]


def losses_of(head: nn.Module) -> dict:
    torch.manual_seed(0)
    if hasattr(head, 'cls_branches'):
        hidden, references = torch.randn(3, 1, 10, 16), [torch.rand(1, 10, 2) for _ in range(3)]
        return head.loss_by_feat(*head(hidden, references), None, None, [OBJECTS], [META])
    features = tuple(torch.randn(1, 8, size, size) for size in (8, 4))
    return head.loss_by_feat(*head(features), [OBJECTS], [META])


@pytest.mark.parametrize('type, loss_cls', LOSSES, ids=lambda v: v['type'] if isinstance(v, dict) else v)
def test_width_bias_and_training(type, loss_cls):
    head = build(type, loss_cls)
    assert head.cls_out_channels == C and head.use_sigmoid_cls
    for classifier in classifiers(head):
        torch.testing.assert_close(classifier.bias, torch.full((C,), -math.log(0.999 / 0.001)))
    losses = {name: value for name, value in losses_of(head).items() if 'loss_cls' in name}
    if type == 'DeformableDETRHead':
        assert set(losses) == {'loss_cls', 'd0.loss_cls', 'd1.loss_cls'}
        sum(losses.values()).backward()
    else:
        assert len(losses['loss_cls']) == 2
        sum(losses['loss_cls']).backward()
    assert all(classifier.weight.grad.any() for classifier in classifiers(head))


@EACH_HEAD
def test_levels_or_layers_are_one_update(type, monkeypatch):
    updates, add = [], RunningGradients._add
    monkeypatch.setattr(RunningGradients, '_add', lambda self, batch: (updates.append(batch), add(self, batch)))
    head = build(type, EQLV2)
    for num_iterations in (1, 2):
        losses_of(head)
        assert len(updates) == num_iterations
    assert head.loss_cls.gradients.positive[[0, 2]].all() and not head.loss_cls.gradients.positive[[1, 3]].any()


def test_ignored_anchors_are_not_gathered():
    head = build('RetinaHead', EQLV2)
    head.loss_cls(torch.zeros(3, C), torch.full((3,), C), torch.tensor([1.0, 0.0, 0.0]), avg_factor=1)
    assert head.loss_cls.gradients.negative.tolist() == [0.5] * C


@EACH_HEAD
def test_other_losses_as_in_mmdet(type):
    ours, theirs = (build(type, dict(type='FocalLoss', use_sigmoid=True), scope=scope) for scope in ('ltmm', 'mmdet'))
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(losses_of(ours), losses_of(theirs))
    assert ours.init_cfg == theirs.init_cfg


def test_init_cfg_replaces_the_prior_bias():
    head = build('RetinaHead', EQLV2, init_cfg=dict(type='Normal', layer='Conv2d', std=0.01))
    assert not head.retina_cls.bias.any()
