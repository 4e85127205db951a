import math

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn

from ltmm.models.state.running_sums import RunningGradients
from ltmm.registry import MODELS

C = 4
EQLV2 = dict(type='ltmm.EQLv2Loss')
EQL = dict(type='ltmm.EQLLoss', lambda_=0.1, class_counts=[40, 20, 5, 0])


@pytest.fixture(autouse=True)
def in_scope_mmdet():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def build(loss_cls: dict, type: str = 'ltmm.DeformableDETRHead', **options) -> nn.Module:
    costs = [dict(type='FocalLossCost', weight=2.0), dict(type='BBoxL1Cost', weight=5.0, box_format='xywh')]
    head = MODELS.build(
        dict(
            type=type,
            num_classes=C,
            embed_dims=16,
            num_pred_layer=3,
            sync_cls_avg_factor=True,
            loss_cls=loss_cls,
            train_cfg=dict(assigner=dict(type='HungarianAssigner', match_costs=costs)),
            **options,
        )
    )
    head.init_weights()
    return head


def losses_of(head: nn.Module) -> dict:
    torch.manual_seed(0)
    hidden, references = torch.randn(3, 1, 10, 16), [torch.rand(1, 10, 2) for _ in range(3)]
    objects = InstanceData(bboxes=torch.tensor([[4.0, 4, 36, 36], [0, 0, 60, 60]]), labels=torch.tensor([0, 2]))
    return head.loss_by_feat(*head(hidden, references), None, None, [objects], [dict(img_shape=(64, 64))])


@pytest.mark.parametrize('loss_cls', [EQL, EQLV2], ids=lambda cfg: cfg['type'])
def test_width_bias_and_training(loss_cls):
    head = build(loss_cls)
    for branch in head.cls_branches:
        torch.testing.assert_close(branch.bias, torch.full((C,), -math.log(0.999 / 0.001)))
    losses = losses_of(head)
    assert {'loss_cls', 'd0.loss_cls', 'd1.loss_cls'} <= set(losses)
    sum(loss.sum() for loss in losses.values()).backward()
    assert all(branch.weight.grad.any() for branch in head.cls_branches)


def test_layers_are_one_update(monkeypatch):
    updates, add = [], RunningGradients._add
    monkeypatch.setattr(RunningGradients, '_add', lambda self, batch: (updates.append(batch), add(self, batch)))
    losses_of(build(EQLV2))
    assert len(updates) == 1


def test_other_losses_as_in_mmdet():
    focal = dict(type='FocalLoss', use_sigmoid=True)
    ours, theirs = build(focal), build(focal, type='mmdet.DeformableDETRHead')
    theirs.load_state_dict(ours.state_dict())
    torch.testing.assert_close(losses_of(ours), losses_of(theirs))
