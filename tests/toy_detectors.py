"""Detectors of every kind, small enough for one training step in a test."""

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.hub import get_config
from mmengine.optim import OptimWrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData
from torch import nn

import ltmm  # noqa: F401
from ltmm import ClassDistribution

NUM_CLASSES = 4
DISTRIBUTION = ClassDistribution([40, 20, 5, 0], num_images=60)
BASES = dict(
    mask_rcnn='_base_/models/mask-rcnn_r50_fpn.py',
    cascade_rcnn='_base_/models/cascade-rcnn_r50_fpn.py',
    retinanet='_base_/models/retinanet_r50_fpn.py',
    gfl='gfl/gfl_r50_fpn_1x_coco.py',
    atss='atss/atss_r50_fpn_1x_coco.py',
    deformable_detr='deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
)


def detector_cfg(kind: str, loss_cls: dict, **head_options) -> ConfigDict:
    """A detector of mmdet's, everything in it made small.

    Args:
        kind: key of :data:`BASES`.
        loss_cls: its classification loss.
        head_options: further options of the head that has it, such as ``type``.
    """
    model = get_config(f'mmdet::{BASES[kind]}').model

    def make(head: ConfigDict, **small: int) -> None:
        head.pop('loss_cls')  # an update would add to it
        head.update(small, num_classes=NUM_CLASSES, loss_cls=loss_cls, **head_options)

    if kind != 'deformable_detr':
        model.test_cfg.get('rcnn', model.test_cfg).score_thr = 0.0
    model.backbone = dict(type='ResNet', depth=18, base_channels=8, out_indices=(0, 1, 2, 3))
    if kind == 'deformable_detr':
        model.backbone.out_indices = (1, 2, 3)
        model.neck.update(in_channels=[16, 32, 64], out_channels=16, norm_cfg=dict(type='GN', num_groups=4))
        for part in (model.encoder, model.decoder):
            part.num_layers = 2
            part.layer_cfg.self_attn_cfg.update(embed_dims=16, num_heads=2)
            part.layer_cfg.ffn_cfg.update(embed_dims=16, feedforward_channels=16)
        model.decoder.layer_cfg.cross_attn_cfg.update(embed_dims=16, num_heads=2)
        model.positional_encoding.num_feats = 8
        model.num_queries = 30
        make(model.bbox_head, embed_dims=16)
    else:
        model.neck.update(in_channels=[8, 16, 32, 64], out_channels=8)
        if kind in ('retinanet', 'atss', 'gfl'):
            make(model.bbox_head, in_channels=8, feat_channels=8, stacked_convs=1)
            if kind != 'retinanet':
                model.bbox_head.norm_cfg = dict(type='GN', num_groups=2)
        else:
            model.rpn_head.update(in_channels=8, feat_channels=8)
            model.train_cfg.rpn_proposal.max_per_img = 20
            model.test_cfg.rpn.max_per_img = 10
            roi_head = model.roi_head
            roi_head.bbox_roi_extractor.out_channels = 8
            heads = roi_head.bbox_head if isinstance(roi_head.bbox_head, list) else [roi_head.bbox_head]
            for head in heads:
                make(head, in_channels=8, fc_out_channels=16)
            if 'mask_head' in roi_head:
                roi_head.mask_roi_extractor.out_channels = 8
                roi_head.mask_head.update(in_channels=8, conv_out_channels=8, num_convs=1, num_classes=NUM_CLASSES)
    return model


def build_detector(kind: str, loss_cls: dict, **head_options) -> nn.Module:
    """The detector, its weights initialised, and the class distribution handed out."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(detector_cfg(kind, loss_cls, **head_options))
    model.init_weights()
    for module in model.modules():
        if hasattr(module, 'set_class_distribution'):
            module.set_class_distribution(DISTRIBUTION)
    return model


def batch(num_objects: int = 2) -> dict:
    """Two images of 64 x 64 pixels with objects of random classes."""
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(2):
        corner = rng.integers(0, 24, (num_objects, 2))
        boxes = np.concatenate([corner, corner + rng.integers(16, 40, (num_objects, 2))], 1)
        masks = np.zeros((num_objects, 64, 64), np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes):
            mask[y1:y2, x1:x2] = 1
        meta = dict(img_shape=(64, 64), ori_shape=(64, 64), pad_shape=(64, 64), scale_factor=(1.0, 1.0))
        sample = DetDataSample(metainfo=dict(meta, batch_input_shape=(64, 64)))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes).float().reshape(-1, 4),
            labels=torch.tensor(rng.integers(NUM_CLASSES, size=num_objects)),
            masks=BitmapMasks(masks, 64, 64),
        )
        samples.append(sample)
    pixels = [torch.tensor(rng.integers(0, 255, (3, 64, 64)), dtype=torch.uint8) for _ in samples]
    return dict(inputs=pixels, data_samples=samples)


def train_step(model: nn.Module, data: dict) -> dict:
    """One step of SGD; its losses."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    return model.train().train_step(data, OptimWrapper(optimizer, clip_grad=dict(max_norm=10)))


def predict(model: nn.Module, data: dict) -> list[InstanceData]:
    """What the detector finds."""
    with torch.no_grad():
        return [sample.pred_instances for sample in model.eval().test_step(data)]
