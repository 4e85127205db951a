"""A handful of images in LVIS's layout, and a detector that trains on them in seconds."""

import json
from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from toy import ROOT

CLASSES = ('kite', 'ladder', 'mug', 'oar')  # in the order of their ids
CATEGORY_IDS = (2, 5, 6, 9)
FREQUENCY = ('f', 'f', 'c', 'r')
SIZE = 64


def lvis_content(num_images: int = 8, seed: int = 0) -> dict:
    """An annotation file: one to three boxes an image, many of class 0, few of class 3."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for image_id in range(10, 10 + num_images):
        labels = [0, *rng.choice([0, 1, 1, 2], rng.integers(0, 3)).tolist()] if image_id > 10 else [0, 3]
        for label in labels:
            x, y = rng.integers(0, 30, 2).tolist()
            w, h = rng.integers(12, 34, 2).tolist()
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=CATEGORY_IDS[label],
                    bbox=[x, y, w, h],
                    area=w * h,
                    segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]],
                )
            )
        images.append(
            dict(
                id=image_id,
                width=SIZE,
                height=SIZE,
                coco_url=f'http://images.cocodataset.org/train2017/{image_id:012}.png',
                neg_category_ids=[c for label, c in enumerate(CATEGORY_IDS) if label not in labels],
                not_exhaustive_category_ids=[],
            )
        )
    categories = [dict(id=i, name=name, frequency=letter) for i, name, letter in zip(CATEGORY_IDS, CLASSES, FREQUENCY)]
    return dict(images=images, annotations=annotations, categories=categories)


def coco_content() -> dict:
    """The same with the field that mmdet.CocoMetric needs."""
    content = lvis_content()
    return dict(content, annotations=[dict(ann, iscrowd=0) for ann in content['annotations']])


def write_lvis(folder: Path, content: dict) -> Path:
    """Write ``annotations.json`` and the images, each object a square of its own colour."""
    (folder / 'train2017').mkdir(parents=True, exist_ok=True)
    for image in content['images']:
        pixels = np.full((SIZE, SIZE, 3), 40, np.uint8)
        for annotation in content['annotations']:
            if annotation['image_id'] == image['id']:
                x, y, w, h = map(int, annotation['bbox'])
                pixels[y : y + h, x : x + w] = 25 * annotation['category_id']
        cv2.imwrite(str(folder / 'train2017' / f'{image["id"]:012}.png'), pixels)
    path = folder / 'annotations.json'
    path.write_text(json.dumps(content))
    return path


def dataset_config(folder: Path, **options) -> dict:
    """The dataset that :func:`write_lvis` wrote."""
    dataset = dict(type='ltmm.LVISDataset', data_root=str(folder), ann_file='annotations.json', pipeline=[])
    return {**dataset, 'data_prefix': dict(img=''), **options}


def box_head(**options) -> dict:
    """A box head for the four classes, with EQL where nothing else is said."""
    head = dict(type='ltmm.Shared2FCBBoxHead', in_channels=8, fc_out_channels=16, num_classes=len(CLASSES))
    return {**head, 'loss_cls': dict(type='ltmm.EQLLoss', lambda_=0.2), **options}


def detector_config(work_dir: Path, folder: Path, **overrides) -> Config:
    """A tiny Mask R-CNN with EQL on :func:`write_lvis`'s data; ``overrides`` as in --cfg-options."""
    bases = ['mmdet::_base_/models/mask-rcnn_r50_fpn.py', str(ROOT / 'configs/_base_/det_runtime.py')]
    cfg = Config.fromstring(f'_base_ = {bases}', '.py')
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]
    meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')

    def loader(train):
        pipeline = [*load[: 1 + train], dict(type='Resize', scale=(SIZE, SIZE), keep_ratio=True)]
        return dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=train),
            dataset=dataset_config(
                folder, test_mode=not train, pipeline=[*pipeline, dict(type='PackDetInputs', meta_keys=meta_keys)]
            ),
        )

    cfg.merge_from_dict(
        dict(
            work_dir=str(work_dir),
            train_dataloader=loader(train=True),
            val_dataloader=loader(train=False),
            test_dataloader=loader(train=False),
            val_evaluator=dict(type='ltmm.LVISMetric', ann_file=str(folder / 'annotations.json')),
            test_evaluator=dict(type='ltmm.LVISMetric', ann_file=str(folder / 'annotations.json')),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            val_cfg=dict(),
            test_cfg=dict(),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.02, momentum=0.9)),
            model=dict(
                backbone=dict(
                    _delete_=True, type='ResNet', depth=18, base_channels=8, norm_cfg=dict(type='BN'), norm_eval=False
                ),
                neck=dict(in_channels=[8, 16, 32, 64], out_channels=8),
                rpn_head=dict(in_channels=8, feat_channels=8),
                roi_head=dict(
                    bbox_roi_extractor=dict(out_channels=8),
                    bbox_head=dict(_delete_=True, **box_head()),
                    mask_roi_extractor=dict(out_channels=8),
                    mask_head=dict(in_channels=8, conv_out_channels=8, num_convs=1, num_classes=len(CLASSES)),
                ),
                train_cfg=dict(rpn_proposal=dict(max_per_img=20), rcnn=dict(sampler=dict(num=16))),
                test_cfg=dict(rpn=dict(max_per_img=10), rcnn=dict(score_thr=1e-4)),
            ),
        )
    )
    cfg.merge_from_dict(overrides)
    return cfg
