"""A trained model, ready to predict: weights, corrections, class names, class distribution."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS as MMENGINE_MODELS
from mmengine.registry import init_default_scope
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.models.heads import ClsHead
from mmpretrain.models.heads import MultiLabelClsHead as MMPretrainMultiLabelClsHead
from torch import nn

from ltmm.class_distribution import ClassDistribution
from ltmm.engine.hooks.post_process_hook import PostProcessHook
from ltmm.engine.post_process.balanced_models import warn_if_balanced
from ltmm.models.post_process import PostProcess
from ltmm.models.state.class_distribution import TOP_LEVEL, UsesClassDistribution
from ltmm.registry import HOOKS, MODELS
from ltmm.utils.checkpoints import load_whole
from ltmm.utils.class_names import class_names_of
from ltmm.utils.environment import mmdet_is_usable
from ltmm.utils.errors import InputError, InputTypeError

__all__ = ['TrainedModel', 'is_detector', 'load_trained_model']

HOOK = 'ltmm.PostProcessHook'


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A model in evaluation mode.

    Args:
        model: Classifier of mmpretrain or detector of mmdet, on its device; its predictions are corrected.
        cfg: Its config.
        class_names: Names in label order; None if the checkpoint has none.
        distribution: Class distribution of the training data; None if the checkpoint has none.
        correction: Text such as ``'TauNorm(tau=0.7)'``; None for a model that is not corrected.
        steps: Corrections of the config's ``ltmm.PostProcessHook``, attached to the model; those inside the
            checkpoint are not among them.
    """

    model: nn.Module
    cfg: Config
    class_names: Sequence[str] | None
    distribution: ClassDistribution | None
    correction: str | None
    steps: Sequence[PostProcess] = ()

    @property
    def task(self) -> str:
        """``'single_label'``, ``'multi_label'`` or ``'detection'``."""
        if not isinstance(self.model, ImageClassifier):
            return 'detection'
        return 'multi_label' if isinstance(self.model.head, MMPretrainMultiLabelClsHead) else 'single_label'

    def name_of(self, label: int) -> str:
        """Name of a class; its number if the checkpoint has no names."""
        names = self.class_names
        return str(names[label]) if names is not None and label < len(names) else str(label)

    def images_of(self, label: int) -> int | None:
        """Number of training images of a class; None if the checkpoint does not tell."""
        if self.distribution is None or label >= len(self.distribution):
            return None
        return int(self.distribution.image_counts[label])


def load_trained_model(cfg: Config, checkpoint: str, device: str | None = None) -> TrainedModel:
    """Build the model of a config, load its weights and correct it as the config says; reads no data set.

    Args:
        cfg: Config of the training, or the one that ``tools/post_process.py`` has written.
        checkpoint: Path or URL.
        device: Such as ``'cuda:1'``. Default: the first GPU, or the CPU.
    """
    device = _device(device)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    model_cfg = dict(cfg.model)
    if cfg.get('data_preprocessor') is not None:
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = MMENGINE_MODELS.build(model_cfg)
    _check_kind(model)
    steps = _attach_corrections(model, cfg)
    meta = load_whole(model, checkpoint).get('meta') or {}
    for name, parameter in model.named_parameters():
        if not parameter.isfinite().all():
            raise InputError(f'Expected finite weights in {checkpoint}, but {name} has NaN or infinite values.')
    names = class_names_of(meta)
    own = {TOP_LEVEL + name: value for name, value in (meta.get('class_distribution') or {}).items()}
    distribution = ClassDistribution.from_state_dict(model.state_dict() | own, names)
    for step in steps:
        if isinstance(step, UsesClassDistribution) and distribution is not None:
            step.set_class_distribution(distribution)
        if isinstance(step, UsesClassDistribution) and step.corrects_prior:
            step.get_class_distribution()  # raises if there is none
    if (cfg.get('test_cfg') or {}).get('type') == 'ltmm.ExpertAggregationLoop':
        print_log(
            'The config weights the experts by all images of a test together (ltmm.ExpertAggregationLoop); here they '
            'count alike.',
            'current',
            logging.WARNING,
        )
    texts = [_text(meta['post_process'])] if meta.get('post_process') else []
    texts += [_text(dict(type=type(step).__name__, **step.settings())) for step in steps]
    return TrainedModel(model.to(device).eval(), cfg, names, distribution, ', '.join(texts) or None, steps)


def _device(name: str | None) -> str:
    name = name or ('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        torch.zeros((), device=name)
    except (RuntimeError, AssertionError) as e:  # torch without CUDA asserts
        raise InputError(f'There is no device {name!r} ({str(e).splitlines()[0]}).') from None
    return name


def is_detector(model: type[nn.Module]) -> bool:
    """Whether a class is a detector of mmdet."""
    if issubclass(model, ImageClassifier) or not mmdet_is_usable():
        return False
    from mmdet.models.detectors import BaseDetector

    return issubclass(model, BaseDetector)


def _check_kind(model: nn.Module) -> None:
    if isinstance(model, ImageClassifier) and isinstance(model.head, (ClsHead, MMPretrainMultiLabelClsHead)):
        return
    if is_detector(type(model)):
        return
    raise InputTypeError(
        f"Expected mmpretrain's ImageClassifier with a head, or a detector of mmdet, but got {type(model).__name__}."
    )


def _attach_corrections(model: nn.Module, cfg: Config) -> list[PostProcess]:
    """Attach the corrections of the config, before the weights are loaded, and return them."""
    steps: list[PostProcess] = []
    for hook_cfg in cfg.get('custom_hooks') or []:
        if hook_cfg['type'] not in (HOOK, PostProcessHook):
            continue
        hook = HOOKS.build(hook_cfg)
        if hook.to_fit:
            raise InputError(
                f'{type(hook.to_fit[0]).__name__} of the config is fitted before each test. Write a checkpoint that '
                'holds it: python tools/post_process.py CONFIG CHECKPOINT --method ...'
            )
        for step in hook.steps:
            warn_if_balanced(step, model, cfg)
            step.attach_to(model)
        steps += hook.steps
    return steps


def _text(step: Mapping[str, Any]) -> str:
    """Return a correction with its strength, if it has one."""
    strength = MODELS.get(f'ltmm.{step["type"]}').strength
    return step['type'] if strength is None else f'{step["type"]}({strength}={step[strength]:.4g})'
