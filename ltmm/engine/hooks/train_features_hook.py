"""Compute features of the whole training set for the modules that use them."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ltmm.engine.runner.model_outputs import build_test_loader, features_and_labels
from ltmm.models.classifiers.distill_classifier import LearnsFromTeachers
from ltmm.models.classifiers.momentum_classifier import MomentumClassifier
from ltmm.models.state.sample_table import sample_indices
from ltmm.models.state.train_features import TrainFeatures, UsesTrainFeatures
from ltmm.registry import HOOKS
from ltmm.utils.errors import InputError, InputTypeError
from ltmm.utils.wrappers import unwrap_model

from .progress_hook import BeforeEpochHook

__all__ = ['TrainFeaturesHook', 'train_features']


@HOOKS.register_module()
class TrainFeaturesHook(BeforeEpochHook):
    """Calls ``on_train_features`` of modules derived from :class:`UsesTrainFeatures`, before the epochs they choose.

    The training set is run with the transforms of the test set, or with its own for modules with
    ``num_augmented_passes``; each rank computes its share, and all get the whole.
    The model's modes and batch-norm statistics and the random numbers of the training stay as they are. If no module
    asks, nothing is computed.
    """

    priority = 'HIGH'  # after ProgressHook

    def before_train(self, runner: Runner) -> None:
        """Find the modules once."""
        self.modules = [m for m in unwrap_model(runner.model).modules() if isinstance(m, UsesTrainFeatures)]
        self._loaders: dict[bool, DataLoader] = {}

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        if self.modules:
            super().before_train_iter(runner, batch_idx, data_batch)

    def before_every_epoch(self, runner: Runner, epoch: int) -> None:
        """Compute the features that modules ask for."""
        asking = [module for module in self.modules if module.needs_train_features(epoch)]
        if not asking:
            return
        num_passes = {  # by whether the images are augmented
            False: int(any(not module.num_augmented_passes for module in asking)),
            True: max(module.num_augmented_passes for module in asking),
        }
        wanted = dict(
            with_logits=any(module.needs_train_logits for module in asking),
            with_teachers=any(module.needs_train_teacher_logits for module in asking),
            with_keys=any(module.needs_train_key_features for module in asking),
        )
        with unchanged_random_state():
            outputs = {
                augmented: [self._outputs(runner, augmented, **wanted) for _ in range(num)]
                for augmented, num in num_passes.items()
            }
        for module in asking:
            num = module.num_augmented_passes
            module.on_train_features(*(outputs[True][:num] if num else outputs[False]))

    def _outputs(self, runner: Runner, augmented: bool, **wanted: bool) -> TrainFeatures:
        if augmented not in self._loaders:
            dataset = runner.cfg.train_dataloader.dataset
            with unchanged_random_state():  # a sampler draws a seed
                self._loaders[augmented] = build_test_loader(runner.cfg, dataset, round_up=True, augmented=augmented)
        outputs = train_features(unwrap_model(runner.model), self._loaders[augmented], **wanted)
        return replace(outputs, seed=runner.seed)


@torch.no_grad()
def train_features(
    model: nn.Module,
    loader: DataLoader,
    with_logits: bool = False,
    with_teachers: bool = False,
    with_keys: bool = False,
) -> TrainFeatures:
    """Run a classifier over a dataset in evaluation mode, and restore the modes.

    Args:
        model: Classifier of mmpretrain.
        loader: Loads samples r, r + R, ... on rank r of R, the same number on every rank.
        with_logits: Return the logits too.
        with_teachers: Return those of its teachers too.
        with_keys: Return the features by its key encoder too.
    """
    if with_teachers and not isinstance(model, LearnsFromTeachers):
        raise InputTypeError(
            'The loss learns from teachers: expected a model that has them, such as ltmm.LFMEClassifier, but got '
            f'{type(model).__name__}.'
        )
    if with_keys and not isinstance(model, MomentumClassifier):
        raise InputTypeError(
            'The loss needs features of a key encoder: expected ltmm.MomentumClassifier, but got '
            f'{type(model).__name__}.'
        )
    with evaluation_mode(model):
        batches = [_batch_outputs(model, batch, with_logits, with_teachers, with_keys) for batch in loader]
    outputs = {name: torch.cat([batch[name] for batch in batches])[: len(loader.dataset)] for name in batches[0]}
    return TrainFeatures(**{'logits': None, **outputs})


def _batch_outputs(
    model: nn.Module, batch: dict, with_logits: bool, with_teachers: bool, with_keys: bool
) -> dict[str, Tensor]:
    """Outputs for the batches of all ranks, in the order of the dataset."""
    data = model.data_preprocessor(batch, False)
    sample_idx = sample_indices(data['data_samples'])
    if sample_idx is None:
        raise InputError(
            'Expected data samples with `sample_idx`: add it to `meta_keys` of PackInputs in the test set.'
        )
    images = data['inputs'][: len(sample_idx)]  # the first view of each
    feats = model.extract_feat(images)
    features, label = features_and_labels(model.head, feats, data['data_samples'])  # (B, D), (B,)
    outputs = dict(features=features, label=label, sample_idx=sample_idx)
    if with_logits:
        outputs['logits'] = model.head(feats).float()  # (B, C)
    if with_teachers:
        outputs['teacher_logits'] = model.teacher_logits(images).float()  # (B, C)
    if with_keys:
        outputs['key_features'], _ = features_and_labels(model.head, model.key_network(images), data['data_samples'])
    return {name: torch.stack(all_gather(value), dim=1).flatten(0, 1).cpu() for name, value in outputs.items()}


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Set a model to evaluation mode, and restore the modes of all its modules afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def unchanged_random_state() -> Iterator[None]:
    """Restore the global random generators of the CPU afterwards."""
    states = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
