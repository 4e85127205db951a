"""Weights that load without ltmm, into models of mmpretrain or mmdet alone."""

import copy
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS
from mmpretrain.models.backbones import ResNet
from mmpretrain.models.heads import LinearClsHead, MultiLabelLinearClsHead
from torch import nn

from ltmm.models.heads import LongTailClsHead, MultiLabelClsHead
from ltmm.models.post_process.base import linear_layer
from ltmm.models.post_process.search import uses_sigmoid
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.errors import InputTypeError

from .image_files import test_pipeline
from .trained_model import TrainedModel

__all__ = ['plain_model', 'write_plain']

BOX_HEADS = ('ConvFCBBoxHead', 'Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead')  # of mmdet too


def plain_model(trained: TrainedModel) -> tuple[dict[str, Any], nn.Module]:
    """Return the config of a model without ltmm, and the model with the weights; corrections are folded in.

    Raises:
        InputTypeError: mmpretrain and mmdet have no such model.
    """
    cfg = Config(dict(model=copy.deepcopy(trained.cfg.model))).model.to_dict()
    cfg['data_preprocessor'] = (
        cfg.get('data_preprocessor') or Config(dict(cfg=trained.cfg.get('data_preprocessor') or {})).cfg.to_dict()
    )
    state = dict(trained.model.state_dict())
    if trained.task == 'detection':
        if trained.steps:
            raise InputTypeError('Fold the correction of the detector into a checkpoint first: tools/post_process.py.')
        _replace_box_parts(cfg)
    else:
        head_cfg, head_state = _plain_head(trained)
        state |= {f'head.{name}': value for name, value in head_state.items()}
        cfg = dict(
            type='ImageClassifier',
            data_preprocessor=cfg.get('data_preprocessor'),
            backbone=_plain_backbone(cfg['backbone']),
            head=head_cfg,
            **({'neck': cfg['neck']} if cfg.get('neck') else {}),
        )
    for part in _parts(cfg):
        part.pop('init_cfg', None)
    for part in _parts([cfg, test_pipeline(trained.cfg)]):
        if str(part['type']).startswith('ltmm.'):
            raise InputTypeError(
                f'The config has a part that is only in ltmm, {part["type"]}, so that its weights do not load without '
                'it. Export a classifier by --format onnx or torch.export.'
            )
    model = (
        MODELS.build(Config(dict(model=copy.deepcopy(cfg))).model).to(next(trained.model.parameters()).device).eval()
    )
    try:
        model.load_state_dict({name: value for name, value in state.items() if name in model.state_dict()})
    except RuntimeError as e:  # another number of outputs, as of sigmoids without background
        reason = str(e).splitlines()[-1].strip()
        raise InputTypeError(f'The weights do not fit the model without ltmm: {reason} Nothing was written.') from None
    return cfg, model


def write_plain(path: Path, trained: TrainedModel, cfg: Mapping[str, Any], model: nn.Module) -> list[Path]:
    """Write the weights, and beside them a config for the inferencers of mmpretrain and mmdet; return the files.

    Args:
        path: File to write, .pth.
        trained: The model as trained.
        cfg: See :func:`plain_model`.
        model: Same.
    """
    dataset = dict(type='CustomDataset' if trained.task != 'detection' else 'CocoDataset')
    dataset |= dict(pipeline=copy.deepcopy(test_pipeline(trained.cfg)))
    text = Config(
        dict(
            model=dict(cfg),
            default_scope=trained.cfg.get('default_scope', 'mmpretrain'),
            test_dataloader=dict(dataset=dataset),
        )
    ).pretty_text
    names = trained.class_names
    meta = dict(dataset_meta=dict(classes=list(names))) if names is not None else {}
    file = io.BytesIO()
    torch.save(dict(meta=meta, state_dict={name: value.cpu() for name, value in model.state_dict().items()}), file)
    AtomicLocalBackend().put(file.getvalue(), path)
    config = path.with_suffix('.py')
    AtomicLocalBackend().put_text(text, config)
    return [path, config]


def _plain_head(trained: TrainedModel) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Config and weights of mmpretrain's linear head."""
    head = copy.deepcopy(trained.model.head)
    layer = linear_layer(head)
    is_known = type(head) in (LongTailClsHead, MultiLabelClsHead, LinearClsHead, MultiLabelLinearClsHead)
    if not is_known or layer is None or layer is not head.fc or uses_sigmoid(head) or 'correction' in head._modules:
        parts = [type(head).__name__, type(head.fc).__name__] if 'fc' in head._modules else [type(head).__name__]
        scores = ' with sigmoids' if uses_sigmoid(head) else ''
        fitted = ' and a fitted correction' if 'correction' in head._modules else ''
        raise InputTypeError(
            f"mmpretrain's LinearClsHead cannot express {' of '.join(parts)}{scores}{fitted}. Export by --format onnx "
            'or torch.export.'
        )
    for step in trained.steps:
        if not step.write(head):
            raise InputTypeError(
                f'{type(step).__name__} cannot be folded into a linear layer: export by --format onnx.'
            )
    weight, bias = head.fc.weight.detach(), head.fc.bias
    bias = torch.zeros(len(weight)) if bias is None else bias.detach()
    cfg: dict[str, Any] = dict(type='LinearClsHead', num_classes=head.num_classes, in_channels=head.in_channels)
    if trained.task == 'multi_label':
        cfg |= dict(type='MultiLabelLinearClsHead', thr=head.thr, topk=head.topk)
    return cfg, {'fc.weight': weight, 'fc.bias': bias}


def _plain_backbone(cfg: Mapping[str, Any]) -> dict[str, Any]:
    is_own = cfg['type'] == 'ltmm.ResNet' and cfg['depth'] in ResNet.arch_settings
    return dict(cfg, type='ResNet') if is_own else dict(cfg)


def _replace_box_parts(cfg: dict[str, Any]) -> None:
    """Replace ltmm's box heads, which are mmdet's, and losses, which only train."""
    for part in _parts(cfg):
        name = str(part['type']).removeprefix('ltmm.')
        if name != part['type'] and name in BOX_HEADS:
            part['type'] = name
            part.pop('aux_losses', None)
            part.pop('init_cfg', None)
        for key, loss in part.items():
            if key.startswith('loss_') and isinstance(loss, dict) and str(loss['type']).startswith('ltmm.'):
                part[key] = dict(type='CrossEntropyLoss', use_sigmoid=bool(loss.get('use_sigmoid', False)))


def _parts(cfg: Any) -> Iterator[dict[str, Any]]:
    """Yield the configs with a type inside a config."""
    if isinstance(cfg, dict):
        if 'type' in cfg:
            yield cfg
        for value in list(cfg.values()):
            yield from _parts(value)
    elif isinstance(cfg, (list, tuple)):
        for value in cfg:
            yield from _parts(value)
