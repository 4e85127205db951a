"""Heads of detectors with random weights, small enough for the CPU, and what they predict."""

import pytest
import torch
from mmengine.registry import DefaultScope

from ltmm.registry import MODELS

COUNTS = [500, 60, 20, 3]
C = len(COUNTS)


def logits(width, dtype=torch.float64):
    return 3 * torch.randn(6, width, generator=torch.Generator().manual_seed(0), dtype=dtype)


HEADS = {
    'softmax': dict(type='CrossEntropyLoss'),
    'sigmoid': dict(type='ltmm.EQLLoss', lambda_=0.1, class_counts=COUNTS),
    'seesaw': dict(type='SeesawLoss', num_classes=C),
}
LOSSES = {  # losses of ltmm's box heads that compute the scores, by what these are
    'softmax': [
        dict(type='ltmm.LOCELoss', feat_dim=8),
        dict(type='ltmm.ROGLoss', loss=dict(type='CrossEntropyLoss')),
        dict(type='ltmm.SeesawLoss'),
    ],
    'sigmoid': [
        dict(type='ltmm.BACLLoss', feat_dim=8),
        dict(type='ltmm.DropLoss', lambda_=0.1, class_counts=COUNTS),
        dict(type='ltmm.ECMLoss', class_counts=COUNTS),
        dict(type='ltmm.EqualizedFocalLoss'),
        dict(type='ltmm.FederatedLoss', num_sampled_classes=3, class_counts=COUNTS),
        dict(type='ltmm.ROGLoss', loss=dict(type='ltmm.EQLv2Loss')),
    ],
    'other': [
        dict(type='ltmm.BalancedGroupSoftmaxLoss', group_bounds=(10, 100), class_counts=COUNTS),
        dict(type='ltmm.DropLoss', lambda_=0.1, activation='gumbel', class_counts=COUNTS),
        dict(type='ltmm.GumbelCrossEntropyLoss'),
    ],
}


def build_box_head(loss, **options):
    """A box head with a loss of ``HEADS``."""
    pytest.importorskip('mmcv.ops')
    cfg = dict(type='mmdet.Shared2FCBBoxHead', in_channels=4, fc_out_channels=8, roi_feat_size=2, num_classes=C)
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build({**cfg, 'loss_cls': HEADS.get(loss), **options})
    head.fc_cls.weight.data.normal_()
    return head.eval()


def scores_of(head, cls_score):
    """Scores that mmdet's head passes to NMS."""
    num = len(cls_score)
    meta = dict(img_shape=(10, 10), scale_factor=(1.0, 1.0))
    (found,) = head.predict_by_feat((torch.rand(num, 5),), (cls_score,), (torch.zeros(num, 4 * C),), [meta], None)
    return found.scores


# ------------------------------------------------------------------ one-stage and DETR heads

META = dict(img_shape=(64, 64), scale_factor=(1.0, 1.0))
EQL = dict(type='ltmm.EQLLoss', lambda_=0.1, class_counts=COUNTS)
FOCAL = dict(type='FocalLoss', use_sigmoid=True)
SOFTMAX_LOSS = dict(type='CrossEntropyLoss')
TWO_STAGES = dict(as_two_stage=True, num_pred_layer=3)
CASES = {  # type, loss and options of the head; name of the layer that a fold changes
    'ltmm_retina': ('ltmm.RetinaHead', EQL, {}, 'retina_cls'),
    'ltmm_atss': ('ltmm.ATSSHead', EQL, {}, 'atss_cls'),
    'retina': ('mmdet.RetinaHead', FOCAL, {}, 'retina_cls'),
    'retina_softmax': ('mmdet.RetinaHead', SOFTMAX_LOSS, {}, 'retina_cls'),
    'atss': ('mmdet.ATSSHead', FOCAL, {}, 'atss_cls'),
    'fcos': ('mmdet.FCOSHead', FOCAL, {}, None),
    'ltmm_deformable': (
        'ltmm.DeformableDETRHead',
        EQL,
        dict(share_pred_layer=True, num_pred_layer=2),
        'cls_branches.1',
    ),
    'refined': ('mmdet.DeformableDETRHead', FOCAL, dict(num_pred_layer=2), 'cls_branches.1'),
    'two_stages': ('mmdet.DeformableDETRHead', FOCAL, TWO_STAGES, 'cls_branches.1'),
    'shared_with_encoder': ('mmdet.DeformableDETRHead', FOCAL, dict(TWO_STAGES, share_pred_layer=True), None),
    'dino': ('mmdet.DINOHead', FOCAL, TWO_STAGES, 'cls_branches.1'),
    'detr': ('mmdet.DETRHead', SOFTMAX_LOSS, {}, 'fc_cls'),
}


def build_other(type, loss, options):
    """A one-stage or DETR head of ``CASES``."""
    pytest.importorskip('mmcv.ops')
    cfg = dict(type=type, num_classes=C, loss_cls=loss, test_cfg=dict(score_thr=0, nms_pre=1000), **options)
    if 'DETR' in type or 'DINO' in type:
        cfg.update(embed_dims=8, test_cfg=dict(max_per_img=20))
    else:
        cfg.update(in_channels=4, feat_channels=4, stacked_convs=1)
        cfg['norm_cfg'] = dict(type='GN', num_groups=2)
        if 'FCOS' in type:
            cfg['strides'] = [8, 16]
        else:
            anchors = 1 if 'ATSS' in type else 2
            cfg['anchor_generator'] = dict(
                type='AnchorGenerator', octave_base_scale=4, scales_per_octave=anchors, ratios=[1.0], strides=[8, 16]
            )
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MODELS.build(cfg)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return head.eval()


@torch.no_grad()
def outputs_of(head, seed=0):
    """Outputs of a head for features or queries, logits first."""
    generator = torch.Generator().manual_seed(seed)
    if not hasattr(head, 'embed_dims'):
        return head(tuple(torch.randn(1, 4, size, size, generator=generator) for size in (8, 4)))
    queries = torch.randn(2, 1, 20, 8, generator=generator)
    references = [torch.rand(1, 20, 4, generator=generator) for _ in range(2)]
    return head(queries, references) if hasattr(head, 'cls_branches') else head(queries[-1:])


def found_by(head, outputs):
    """Scores and labels that the head predicts, without NMS, best first."""
    dense = dict(with_nms=False) if not hasattr(head, 'embed_dims') else {}
    (found,) = head.predict_by_feat(*outputs, batch_img_metas=[META], rescale=False, **dense)
    order = found.scores.argsort(descending=True)
    return found.scores[order], found.labels[order]
