"""Train by a shipped config, from given weights on given batches, and record what the authors recorded."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler
from toy import ROOT, read_config

from ltmm.registry import DATA_SAMPLERS, DATASETS

from ..frame import Case
from .weights import EVALUATION, compare_state, draw_images, draw_state, stored_transposed

__all__ = ['Given', 'Training', 'given', 'train']


@dataclass
class Given:
    """What a case gives to a training.

    Args:
        class_counts: training images per class.
        labels: (steps, N), class indices.
        epoch_of_step: when each step happens, from 0. Schedules and hooks walk through the epochs without a step.
        max_epochs: length of the training.
        seed_x: of the images.
        optimizer: arguments of the optimizer.
        weights: state dict at the start, by the authors' names.
        transposed: those of its names that the authors store as (in, out).
    """

    class_counts: Sequence[int]
    labels: Sequence[Sequence[int]]
    epoch_of_step: Sequence[int]
    max_epochs: int
    seed_x: int
    optimizer: Mapping[str, Any]
    weights: dict[str, Tensor]
    transposed: set[str]

    def images(self, step: int) -> Tensor:
        """The images of a step."""
        return draw_images(self.seed_x, step, len(self.labels[0]))


def given(case: Case) -> Given:
    """What a case of the classification experts' format gives."""
    params, labels = case.params, case.arrays['labels']
    size = (len(params['epoch_of_step']), params['batch'])
    case.check('labels', np.random.RandomState(params['seed_y']).randint(0, params['num_classes'], size), labels)
    return Given(
        class_counts=params['class_counts'],
        labels=labels.tolist(),
        epoch_of_step=params['epoch_of_step'],
        max_epochs=params['total_epochs'],
        seed_x=params['seed_x'],
        optimizer=dict(params['optimizer']),
        weights=draw_state(params['init'], params['seed_w']),
        transposed={name for _, name, _, rule in params['init'] if stored_transposed(rule)},
    )


@DATASETS.register_module()
class GivenImages(Dataset):
    """The images of all steps, one after the other, each in one or several views."""

    def __init__(self, labels: Sequence[Sequence[int]], seed: int) -> None:
        self.labels, self.seed = labels, seed
        self.metainfo: dict = {}

    def __len__(self) -> int:
        return sum(map(len, self.labels))

    def __getitem__(self, index: int) -> dict:
        step, i = divmod(index, len(self.labels[0]))
        image = draw_images(self.seed, step, len(self.labels[0]))[i]
        return dict(inputs=image, data_samples=DataSample().set_gt_label(self.labels[step][i]))


@DATA_SAMPLERS.register_module()
class GivenSteps(Sampler):
    """In each epoch the images of its steps, in many epochs none."""

    def __init__(self, dataset: GivenImages, epoch_of_step: Sequence[int], seed: int | None = None) -> None:
        self.batch, self.epoch_of_step, self.epoch = len(dataset.labels[0]), epoch_of_step, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batch

    def __iter__(self) -> Iterator[int]:
        for step, epoch in enumerate(self.epoch_of_step):
            if epoch == self.epoch:
                yield from range(step * self.batch, (step + 1) * self.batch)


class Recorder(Hook):
    """Keeps the network at the start, and rate and losses of each step."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.lr: list[float] = []
        self.losses: list[dict[str, float]] = []

    def before_train(self, runner: Runner) -> None:
        self.start = copy.deepcopy(runner.model)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        (lr,) = {*runner.optim_wrapper.get_lr()['lr']}
        self.lr.append(lr)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        self.losses.append({name: value.item() for name, value in outputs.items()})


@dataclass
class Training:
    """A training of ltmm that went as a case says.

    Args:
        given: what the case gave.
        start: the network before the first step, in training mode.
        end: the network after the last step, in evaluation mode.
        lr: rate of each step.
        losses: ``loss`` and its terms, of each step.
        state: state dict at the end, by the authors' names.
    """

    given: Given
    start: nn.Module
    end: nn.Module
    lr: list[float]
    losses: dict[str, list[float]]
    state: dict[str, Tensor]

    @torch.no_grad()
    def compare(self, case: Case, logits: Callable[[nn.Module, Tensor], Tensor]) -> dict[str, Any]:
        """Compare the final state; return what is stored of every training of the classification experts' format.

        Args:
            case: the case.
            logits: from the network and images to what the authors stored in training.
        """
        compare_state(case, 'state', (self.state[name] for _, name, _ in case.params['state']))
        return dict(
            loss_total=self.losses['loss'],
            lr=self.lr,
            train_logits_step0=logits(self.start, self.given.images(0)),
            eval_logits=self.predict(logits),
        )

    @torch.no_grad()
    def predict(self, logits: Callable[[nn.Module, Tensor], Tensor] = nn.Module.__call__) -> Tensor:
        """``logits(network at the end, images)`` of the evaluation batch."""
        return logits(self.end, self.given.images(EVALUATION))


def train(given: Given, config: str, our_name: Callable[[str], str], overrides: Mapping[str, Any]) -> Training:
    """Train by a shipped config with MMEngine's runner, in float64.

    Args:
        given: weights, batches, class counts, epochs, optimizer.
        config: name of the config, below ``configs/``.
        our_name: from the authors' name of a tensor to ltmm's.
        overrides: what the case changes in the config, as in ``--cfg-options``.
    """
    recorder = Recorder()
    # as in the authors' runs, where `.float()` gives float64 too; mmpretrain's data preprocessor calls it
    with TemporaryDirectory() as folder, mock.patch.object(Tensor, 'float', Tensor.double):
        runner = Runner.from_cfg(_config(given, read_config(ROOT / 'configs' / config), folder, overrides))
        runner.model.double()
        runner.register_hook(recorder)
        _save_weights(given, runner.model, our_name, runner._load_from)
        runner.train()
    ours = runner.model.state_dict()
    theirs = {name: ours[our_name(name)] for name in given.weights}
    return Training(
        given=given,
        start=recorder.start.train(),
        end=runner.model.eval(),
        lr=recorder.lr,
        losses={name: [step[name] for step in recorder.losses] for name in recorder.losses[0]},
        state={name: value.T if name in given.transposed else value for name, value in theirs.items()},
    )


def _config(given: Given, cfg: Config, folder: str, overrides: Mapping[str, Any]) -> Config:
    """The shipped config on the given data, without validation, checkpoints and normalisation of the images."""
    for part in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator'):
        cfg[part] = None
    for key in ('mean', 'std'):
        cfg.data_preprocessor.pop(key)
    (counting,) = (hook for hook in cfg.custom_hooks if hook.type == 'ltmm.ClassDistributionHook')
    counting.class_counts = given.class_counts
    cfg.train_dataloader.dataset = dict(type='ltmm.GivenImages', labels=given.labels, seed=given.seed_x)
    cfg.train_dataloader.sampler = dict(type='ltmm.GivenSteps', epoch_of_step=given.epoch_of_step)
    cfg.merge_from_dict(
        {
            'model.head.num_classes': len(given.class_counts),
            'data_preprocessor.num_classes': len(given.class_counts),
            'train_dataloader.batch_size': len(given.labels[0]),
            'train_dataloader.num_workers': 0,
            'train_cfg.max_epochs': given.max_epochs,
            'optim_wrapper.optimizer': given.optimizer,
            'default_hooks.checkpoint': dict(interval=-1, save_last=False),
            'work_dir': folder,
            'experiment_name': Path(folder).name,  # MMEngine keeps loggers and messages of a name
            'load_from': f'{folder}/given.pth',
            'log_level': 'WARNING',
            **overrides,
        }
    )
    return cfg


def _save_weights(given: Given, model: nn.Module, our_name: Callable[[str], str], path: str) -> None:
    """Write the given weights as a checkpoint of the model, which they must fill: all of it but the class counts."""
    weights = {our_name(name): value.T if name in given.transposed else value for name, value in given.weights.items()}
    ours = {name for name in model.state_dict() if 'class_distribution' not in name}
    assert ours == weights.keys(), f'in the model or in the case only: {sorted(ours ^ weights.keys())}'
    torch.save(dict(state_dict={name: value.contiguous() for name, value in weights.items()}), path)
