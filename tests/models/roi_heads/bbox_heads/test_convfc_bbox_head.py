import math
from types import SimpleNamespace

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from toy_losses import TwoTerms, prepare
from toy_lvis import CLASSES, box_head

from ltmm.models.roi_heads.bbox_heads.convfc_bbox_head import object_indices

C = len(CLASSES)
CROSS_ENTROPY = dict(type='CrossEntropyLoss')
EITHER_HEAD = pytest.mark.parametrize('type', ['ltmm.Shared2FCBBoxHead', 'mmdet.Shared2FCBBoxHead'])


@pytest.fixture(autouse=True)
def in_scope_mmdet():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def build(**options):
    head = MODELS.build(box_head(**options))
    head.init_weights()
    return prepare(head, [40, 20, 5, 0], num_images=60)


def loss_of(head, labels, weights=None):
    """The head's losses on random proposals with these labels, and its logits."""
    labels = torch.as_tensor(labels, dtype=torch.long)
    num = len(labels)
    torch.manual_seed(0)
    cls_score, bbox_pred = head(torch.randn(num, 8, 7, 7))
    targets = (labels, torch.ones(num) if weights is None else weights, torch.zeros(num, 4), torch.ones(num, 4))
    return head.loss(cls_score, bbox_pred, torch.zeros(num, 5), *targets), cls_score


@pytest.mark.parametrize('name', ['Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead', 'ConvFCBBoxHead'])
def test_width_and_bias_come_from_the_loss(name):
    head = build(type=f'ltmm.{name}', **(dict(num_cls_fcs=1) if name == 'ConvFCBBoxHead' else {}))
    assert head.fc_cls.out_features == C
    torch.testing.assert_close(head.fc_cls.bias, torch.full((C,), -math.log(0.999 / 0.001)))
    assert head.fc_cls.weight.std() < 0.02 and (head.fc_reg.bias == 0).all()


def test_loss_without_prior_leaves_the_head_as_in_mmdet():
    head = build(loss_cls=CROSS_ENTROPY)
    assert head.fc_cls.out_features == C + 1 and (head.fc_cls.bias == 0).all()


def test_init_cfg_replaces_the_prior_bias():
    head = build(init_cfg=[dict(type='Normal', std=0.01, override=dict(name='fc_cls'))])
    assert (head.fc_cls.bias == 0).all()


def test_object_of_each_proposal():
    def result(matched, num_background, num_gts):
        return SimpleNamespace(
            pos_assigned_gt_inds=torch.tensor(matched, dtype=torch.long),
            neg_priors=torch.zeros(num_background, 4),
            num_gts=num_gts,
        )

    images = [result([1, 0, 1], 2, 3), result([], 1, 0), result([0], 0, 2)]
    assert object_indices(images).tolist() == [1, 0, 1, -1, -1, -1, 3]


def test_objective_tells_width_and_scores():
    head = build(loss_cls=dict(type='ltmm.LOCELoss', feat_dim=16))
    assert head.fc_cls.out_features == C + 1 and head.custom_cls_channels
    score = torch.randn(3, C + 1)
    torch.testing.assert_close(head.loss_cls.get_activation(score), score.softmax(1))


@EITHER_HEAD
def test_loss(type):
    head = build(type=type)
    losses, cls_score = loss_of(head, [0, 1, 3, C, C, C])
    assert set(losses) == {'loss_cls', 'acc_classes', 'loss_bbox'}
    torch.testing.assert_close(losses['loss_cls'], head.loss_cls(cls_score, torch.tensor([0, 1, 3, C, C, C])))
    losses['loss_cls'].backward()
    assert head.fc_cls.weight.grad.abs().sum() > 0


def test_rows_without_weight_neither_count_nor_divide():
    head = build()
    weights = torch.tensor([1.0, 1, 0, 1, 0, 0])
    losses, cls_score = loss_of(head, [0, 1, 3, C, C, C], weights)
    kept = weights > 0
    torch.testing.assert_close(losses['loss_cls'], head.loss_cls(cls_score[kept], torch.tensor([0, 1, C])))


def test_batch_without_proposals():
    head = build()
    losses, _ = loss_of(head, [])
    assert losses['loss_cls'] == 0
    losses['loss_cls'].backward()
    assert (head.fc_cls.weight.grad == 0).all()


def embedding(head, num):
    """Compute the input of the classifier for the proposals of :func:`loss_of`."""
    torch.manual_seed(0)
    x = torch.randn(num, 8, 7, 7).flatten(1)
    for layer in head.shared_fcs:
        x = layer(x).relu()
    return x


def test_auxiliary_losses_see_the_embedding():
    head = build(aux_losses=[dict(type=TwoTerms, weight=2.0, name='x')])
    labels, weights = torch.tensor([0, 1, 3, C, C, C]), torch.tensor([1.0, 1, 0, 1, 1, 1])
    losses, cls_score = loss_of(head, labels, weights)
    assert set(losses) == {'loss_cls', 'acc_classes', 'loss_bbox', 'x_loss_logits', 'x_loss_features'}
    inputs = head.aux_losses[0].objective.inputs
    torch.testing.assert_close([inputs.features, inputs.cls_score], [embedding(head, 6), cls_score])
    torch.testing.assert_close([inputs.label, inputs.weight], [labels, weights])
    torch.testing.assert_close(inputs.loss, losses['loss_cls'])
    torch.testing.assert_close(losses['loss_cls'], head.loss_cls(cls_score[weights > 0], labels[weights > 0]))
    torch.testing.assert_close(losses['x_loss_features'], 2 * embedding(head, 6).square().sum() / 6)
    assert inputs.avg_factor == 5 and inputs.classifier is head.fc_cls
    losses['x_loss_features'].backward()
    assert all(layer.weight.grad.any() for layer in head.shared_fcs) and head.fc_cls.weight.grad is None


@pytest.mark.parametrize('labels', [[0, 1, C], []], ids=['proposals', 'none'])
@pytest.mark.parametrize('name', ['Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead'])
def test_objective_as_loss_cls(name, labels):
    head = build(type=f'ltmm.{name}', loss_cls=dict(type=TwoTerms))
    losses, cls_score = loss_of(head, labels)
    assert {'loss_logits', 'loss_features'} <= set(losses) and 'loss_cls' not in losses
    assert cls_score.shape == (len(labels), C + 1)
    torch.testing.assert_close(losses['loss_logits'], cls_score.square().sum() / max(len(labels), 1))
    (losses['loss_logits'] + losses['loss_features']).backward()
    assert head.fc_cls.weight.grad.any() == bool(labels)


def test_auxiliary_losses_without_proposals():
    head = build(aux_losses=[dict(type=TwoTerms)])
    losses, _ = loss_of(head, [])
    sum(losses[name] for name in ('loss_cls', 'loss_logits', 'loss_features')).backward()
    assert losses['loss_features'] == 0 and (head.fc_cls.weight.grad == 0).all()


@EITHER_HEAD
def test_predicts_sigmoids_of_all_classes(type):
    head = build(type=type, reg_class_agnostic=True)
    corner = 20.0 * torch.arange(C)
    rois = torch.stack([torch.zeros(C), corner, corner, corner + 10, corner + 10], dim=1)  # (K, 5), apart
    cls_score = torch.eye(C) * 4 - 2
    (found,) = head.predict_by_feat(
        (rois,),
        (cls_score,),
        (torch.zeros(C, 4),),
        [dict(img_shape=(100, 100), scale_factor=(1.0, 1.0))],
        ConfigDict(score_thr=0.5, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10),
    )
    assert sorted(found.labels.tolist()) == list(range(C))
    torch.testing.assert_close(found.scores, torch.full((C,), torch.tensor(2.0).sigmoid()))
    assert found.bboxes[found.labels == C - 1].tolist() == [[60, 60, 70, 70]]
