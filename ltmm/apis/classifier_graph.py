"""A classifier as one module from images to scores, with its corrections, for export."""

import json
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.registry import MODELS
from mmpretrain.models.heads import MultiLabelClsHead
from torch import Tensor, nn

from ltmm.models.classifiers import EarlyExitClassifier
from ltmm.models.post_process.conformal_sets import PredictsSets
from ltmm.models.post_process.search import uses_sigmoid
from ltmm.utils.errors import InputError, InputTypeError
from ltmm.version import __version__

from .image_files import holds_arrays, network_order, test_pipeline
from .trained_model import TrainedModel, is_detector

__all__ = ['ClassifierGraph', 'batch_of', 'check_graph', 'metadata_of']


def check_graph(cfg: Config, format: str) -> None:
    """Raise an InputError if no model of this kind can be a graph; needs no checkpoint.

    Args:
        cfg: Config of the model.
        format: ``'onnx'`` or ``'torch.export'``, for the message.
    """
    model = cfg.model.get('type')
    if isinstance(model, str):
        with MODELS.switch_scope_and_registry(cfg.get('default_scope', 'mmpretrain')) as registry:
            model = registry.get(model)
    if model is None:
        return  # building it explains more
    if is_detector(model):
        raise InputTypeError(
            f'{model.__name__} is a detector, but --format {format} takes classifiers: Python code of mmdet makes the '
            'boxes (anchors, NMS), which does not fit in a graph. --format weights takes those whose head mmdet has.'
        )
    if issubclass(model, EarlyExitClassifier):
        raise InputTypeError(
            'EarlyExitClassifier runs as many experts as an image needs, which a graph cannot. Export all experts: '
            '--cfg-options model.type=ImageClassifier.'
        )


class ClassifierGraph(nn.Module):
    """Maps images to scores (N, C) and logits (N, C), float32; aggregation and corrections are inside.

    Args:
        trained: A classifier that :func:`check_graph` takes.
        with_preprocessing: Take RGB (or gray) images of 0 to 255, uint8, and normalize them inside. Otherwise take what
            the data preprocessor gives, float32.
    """

    def __init__(self, trained: TrainedModel, with_preprocessing: bool = False) -> None:
        super().__init__()
        model = trained.model
        if isinstance(model.head, PredictsSets):
            raise InputTypeError('ConformalSets predicts sets, which are not exported: export the model without them.')
        self.model, self.with_preprocessing = model, with_preprocessing
        self.flips = network_order(trained) == 'BGR'

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores and logits of images (N, channels, H, W)."""
        if self.with_preprocessing:
            images = images.float()
            if self.flips:
                images = images.flip(1)
            preprocessor = self.model.data_preprocessor
            if preprocessor._enable_normalize:
                images = (images - preprocessor.mean) / preprocessor.std
        logits = self.model(images, mode='tensor')
        scores = logits.softmax(1) if scores_of(self.model.head) == 'softmax' else logits.sigmoid()
        return scores.float(), logits.float()


def scores_of(head: nn.Module) -> str:
    """``'softmax'`` or ``'sigmoid'``."""
    return 'sigmoid' if isinstance(head, MultiLabelClsHead) or uses_sigmoid(head) else 'softmax'


def batch_of(trained: TrainedModel, packed: Sequence[dict], with_preprocessing: bool) -> Tensor:
    """Return the input of the graph for packed images.

    Args:
        trained: The model.
        packed: What the test pipeline gives.
        with_preprocessing: See :class:`ClassifierGraph`.
    """
    sizes = {tuple(item['inputs'].shape) for item in packed}
    if len(sizes) > 1:
        raise InputError(
            f'Expected a test pipeline that gives all images one size, but got {sorted(sizes)[:3]}. A graph has a '
            'fixed size: add Resize or CenterCrop to the pipeline.'
        )
    batch = default_collate(list(packed))
    if not with_preprocessing:
        return trained.model.data_preprocessor(batch, False)['inputs']
    images = batch['inputs']
    if images.dtype != torch.uint8:
        raise InputError(f'--with-preprocessing needs a pipeline that gives uint8 images, but it gives {images.dtype}.')
    return images if holds_arrays(trained.cfg) or images.size(1) != 3 else images.flip(1)


def metadata_of(trained: TrainedModel, example: Tensor, with_preprocessing: bool) -> dict[str, str]:
    """Return what a program needs that serves the graph; values are text or JSON.

    Args:
        trained: The model.
        example: Input of the graph.
        with_preprocessing: See :class:`ClassifierGraph`.
    """
    preprocessor, channels = trained.model.data_preprocessor, example.size(1)
    order = 'gray' if channels == 1 else 'RGB' if with_preprocessing else network_order(trained)
    inputs: dict[str, Any] = dict(
        name='images', shape=['N', *example.shape[1:]], dtype=str(example.dtype).removeprefix('torch.'), channels=order
    )
    if not with_preprocessing and preprocessor._enable_normalize:
        inputs |= dict(mean=preprocessor.mean.flatten().tolist(), std=preprocessor.std.flatten().tolist())
    numbers = range(trained.model.head.num_classes)
    content: dict[str, Any] = dict(
        classes=[trained.name_of(label) for label in numbers],
        input=inputs,
        scores=scores_of(trained.model.head),
        pipeline=Config(dict(steps=test_pipeline(trained.cfg))).to_dict()['steps'],
    )
    if trained.distribution is not None:
        content['train_images'] = [trained.images_of(label) for label in numbers]
    text = {key: json.dumps(value, ensure_ascii=False, default=str) for key, value in content.items()}
    return text | dict(correction=trained.correction or 'none', producer=f'ltmm {__version__}')
