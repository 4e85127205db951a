"""Models with weights, as a training would leave them: a config and a checkpoint that the tools read."""

from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from torch import nn
from toy_detectors import DISTRIBUTION, detector_cfg

from ltmm import ClassDistribution
from ltmm.models.state.class_distribution import ClassDistributionBuffer

NAMES = ('plain', 'spotted', 'striped', 'rare', 'none')
IMPORT = dict(custom_imports=dict(imports=['ltmm.engine'], allow_failed_imports=False))
BACKBONE = dict(type='ltmm.ResNetCIFAR', depth=8, channels=(4, 4, 8))
HEAD = dict(type='ltmm.LongTailClsHead', num_classes=5, in_channels=8, loss=dict(type='ltmm.BalancedSoftmaxLoss'))
RIDE = dict(type='ltmm.RIDELoss', diversity_factor=-0.2, reweight_factor=0.02, reweight_epoch=160)
COSINE = dict(type='ltmm.NormedLinear', scale=30.0)
EXPERTS = dict(
    backbone=dict(type='ltmm.MultiExpertResNetCIFAR', depth=8, channels=(4, 4, 8), num_experts=3),
    head=dict(HEAD, type='ltmm.MultiExpertClsHead', num_experts=3, loss=RIDE, classifier=COSINE),
)
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(16, 12)), dict(type='PackInputs')]
NORMALIZED = dict(mean=[120, 110, 100], std=[50, 60, 70], to_rgb=True)
MULTI_LABEL = dict(HEAD, type='ltmm.MultiLabelClsHead', loss=dict(type='ltmm.ASLLoss'))
# of mmpretrain alone, but for head and loss
PLAIN_BACKBONE = dict(backbone=dict(type='ResNet', depth=18, base_channels=8), neck=dict(type='GlobalAveragePooling'))


def save_classifier(folder: Path, pipeline=PIPELINE, preprocessor=NORMALIZED, hooks=(), **parts) -> tuple[Path, Path]:
    """A classifier with random weights, of which the batch norm has statistics."""
    model = dict(type='ImageClassifier', data_preprocessor=preprocessor, backbone=BACKBONE, head=HEAD) | parts
    return _save(folder, 'mmpretrain', model, pipeline, ClassDistribution([50, 20, 5, 1, 0]), NAMES, hooks)


def save_detector(folder: Path, kind='mask_rcnn', head='ltmm.Shared2FCBBoxHead', loss=None) -> tuple[Path, Path]:
    """A detector of mmdet with a loss of ltmm."""
    options = dict(type=head) if head else {}
    model = detector_cfg(kind, loss or dict(type='ltmm.SeesawLoss'), **options)
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(64, 64), keep_ratio=True),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
    ]
    return _save(folder, 'mmdet', model, pipeline, DISTRIBUTION, NAMES[:4], ())


def write_image(path: Path, seed: int = 0, shape=(30, 40, 3)) -> Path:
    """A smooth colored picture, BGR."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (4, 5, shape[2]), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = cv2.resize(small, shape[1::-1], interpolation=cv2.INTER_CUBIC)
    path.write_bytes(cv2.imencode(path.suffix, image)[1])
    return path


def _save(folder, scope, model, pipeline, distribution, names, hooks) -> tuple[Path, Path]:
    folder.mkdir(parents=True, exist_ok=True)
    dataset = dict(
        type='CustomDataset' if scope == 'mmpretrain' else 'CocoDataset', data_root='gone', ann_file='x.json'
    )
    cfg = Config(
        dict(
            IMPORT,
            default_scope=scope,
            model=model,
            custom_hooks=list(hooks),
            test_dataloader=dict(dataset=dict(dataset, pipeline=pipeline)),
            visualizer=dict(type='DetLocalVisualizer') if scope == 'mmdet' else None,
        )
    )
    config, checkpoint = folder / 'toy.py', folder / 'toy.pth'
    cfg.dump(config)
    init_default_scope(scope)
    torch.manual_seed(0)
    network = MODELS.build(cfg.model)
    for module in network.modules():
        if isinstance(module, ClassDistributionBuffer):
            module.set(distribution)
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.5)
    torch.save(dict(meta=dict(dataset_meta=dict(classes=list(names))), state_dict=network.state_dict()), checkpoint)
    return config, checkpoint
