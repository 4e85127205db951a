"""Train neck and head of a shipped config on given features, from given weights at given iterations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import ParamSchedulerHook
from mmengine.logging import MessageHub
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.utils.data import Dataset
from toy import ROOT, read_config

from ltmm.datasets.labels import LabelTable
from ltmm.registry import DATASETS, LOOPS, MODELS

from ..frame import Case
from .frame import Recorder, prepare
from .weights import EVALUATION

__all__ = ['FeatureTraining', 'GivenFeatures', 'linear_warm_up', 'read_steps', 'train_on_features']

RECTIFIERS = {'0.45 abs': lambda n: 0.45 * np.abs(n), 'relu': lambda n: np.maximum(n, 0)}


@DATASETS.register_module()
class GivenFeatures(Dataset):
    """Features of all steps in a row, with one label or (C,) labels each.

    Args:
        labels: (steps, N) or (steps, N, C).
        seed: of the features.
        width: D.
        rectifier: what is made of standard normal numbers, in :data:`RECTIFIERS`.
        all_labels: (M, C), those of the training set, to be counted; None where the counts are given.
    """

    def __init__(
        self, labels: Sequence, seed: int, width: int, rectifier: str, all_labels: Sequence | None = None
    ) -> None:
        self.labels, self.seed, self.width, self.rectifier = np.asarray(labels), seed, width, rectifier
        self.all_labels = all_labels
        self.metainfo: dict = {}

    def get_label_table(self) -> LabelTable:
        all_labels = np.asarray(self.all_labels)
        return LabelTable.from_lists([np.flatnonzero(row) for row in all_labels], all_labels.shape[1])

    def draw(self, step: int) -> Tensor:
        """The features of a step, as maps of one pixel, (N, D, 1, 1)."""
        shape = (self.labels.shape[1], self.width)
        features = RECTIFIERS[self.rectifier](np.random.RandomState(self.seed + step).standard_normal(shape))
        return torch.from_numpy(features)[..., None, None]

    def __len__(self) -> int:
        return self.labels.shape[0] * self.labels.shape[1]

    def __getitem__(self, index: int) -> dict:
        step, i = divmod(index, self.labels.shape[1])
        label, sample = self.labels[step, i], DataSample()
        sample = sample.set_gt_score(torch.tensor(label)) if label.ndim else sample.set_gt_label(int(label))
        return dict(inputs=self.draw(step)[i], data_samples=sample)


@LOOPS.register_module()
class GivenIterations(EpochBasedTrainLoop):
    """Trains at some iterations; the schedules walk through the others."""

    def __init__(self, runner: Runner, dataloader: dict, epoch_length: int, iterations: Sequence[int], **kwargs: Any):
        super().__init__(runner, dataloader, **kwargs)
        self.epoch_length, self.iterations = epoch_length, {*iterations}
        self._max_iters = self.max_epochs * epoch_length

    def run_epoch(self) -> None:
        self.runner.call_hook('before_train_epoch')
        self.runner.model.train()
        batches = iter(self.dataloader)
        (schedules,) = (hook for hook in self.runner.hooks if isinstance(hook, ParamSchedulerHook))
        for i in range(self.epoch_length):
            if self.iter in self.iterations:
                self.run_iter(i, next(batches))
            else:
                schedules.after_train_iter(self.runner, i)
                self._iter += 1
        self.runner.call_hook('after_train_epoch')
        self._epoch += 1


@MODELS.register_module()
class NoBackbone(nn.Module):
    """The features as they are."""

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (x,)


class FeatureRecorder(Recorder):
    """Sets the given weights, and records what each step leaves behind.

    Args:
        weights: state dict of all parameters, by ltmm's names.
        watch: called with the network after each step.
    """

    def __init__(self, weights: Mapping[str, Tensor], watch: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.weights, self.watch = weights, watch
        self.grad_norm: list[float] = []
        self.watched: list[Any] = []

    def before_train(self, runner: Runner) -> None:
        model = runner.model
        self.drawn = {name: value.clone() for name, value in model.state_dict().items()}
        missing = {name for name, _ in model.named_parameters()} - self.weights.keys()
        unknown = self.weights.keys() - self.drawn.keys()
        assert not missing | unknown, f'in the model or in the case only: {sorted(missing | unknown)}'
        model.load_state_dict(self.weights, strict=False)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        rates = {id(p): group['lr'] for group in runner.optim_wrapper.param_groups for p in group['params']}
        self.rates.append({name: rates[id(p)] for name, p in runner.model.named_parameters()})

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self.watched.append(self.watch(runner.model))
        scalars = MessageHub.get_current_instance().log_scalars
        for name in ('train/grad_norm', 'train/grad_value'):  # as MMEngine calls it in clipping by norm and by value
            if name in scalars:
                self.grad_norm.append(scalars[name].current())


@dataclass
class FeatureTraining:
    """Result of a training on given features.

    Args:
        data: the features.
        drawn: state dict as the config starts it, before the given weights.
        start: the network before the first step, in training mode.
        end: the network after the last step, in evaluation mode.
        rates: of each step, by parameter.
        losses: ``loss`` and its terms, of each step.
        grad_norm: of each step, before clipping.
        watched: what ``watch`` returned after each step.
        optimizer: the optimizer.
    """

    data: GivenFeatures
    drawn: dict[str, Tensor]
    start: nn.Module
    end: nn.Module
    rates: list[dict[str, float]]
    losses: dict[str, list[float]]
    grad_norm: list[float]
    watched: list[Any]
    optimizer: torch.optim.Optimizer

    @property
    def first(self) -> Tensor:
        """Features of the first step."""
        return self.data.draw(0)

    @property
    def evaluated(self) -> Tensor:
        """Features of the evaluation batch."""
        return self.data.draw(EVALUATION)

    def lr(self, prefix: str = '') -> list[float]:
        """The rate of each step, the same for all parameters of this prefix."""
        rates = [{rate for name, rate in step.items() if name.startswith(prefix)} for step in self.rates]
        return [rate for (rate,) in rates]


def read_steps(case: Case) -> dict[str, Any]:
    """Epoch of each step and, where the case counts iterations, the loop that walks through them."""
    if 'epoch_of_step' in case.params:
        return dict(epoch_of_step=case.params['epoch_of_step'], train_cfg=dict(max_epochs=case.params['total_epochs']))
    iterations, length = case.params['iteration_of_step'], case.params['epoch_length']
    epoch_of_step = [iteration // length for iteration in iterations]
    max_epochs = case.params['total_epochs'] if 'total_epochs' in case.params else epoch_of_step[-1] + 1
    loop = dict(type='ltmm.GivenIterations', epoch_length=length, iterations=iterations, max_epochs=max_epochs)
    return dict(epoch_of_step=epoch_of_step, train_cfg=loop)


def linear_warm_up(case: Case) -> dict[str, Any]:
    """Optimizer, clipping and schedule of the case, as changes to a config with a warm-up and then drops."""
    params, schedule = case.params, case.params['lr_config']
    case.check('policy', [schedule['policy'], schedule['warmup']], ['step', 'linear'])
    max_norm = params['grad_clip'] if 'grad_clip' in params else None
    return {
        'optim_wrapper.optimizer': dict(params['optimizer']),
        'optim_wrapper.clip_grad': dict(max_norm=np.inf if max_norm is None else max_norm),  # measured, at least
        'param_scheduler.0.start_factor': schedule['warmup_ratio'],
        'param_scheduler.0.end': schedule['warmup_iters'] + 1,  # mmcv is at the full rate at iteration warmup_iters
        'param_scheduler.1.milestones': schedule['step'],
    }


def train_on_features(
    config: str,
    data: GivenFeatures,
    weights: Mapping[str, Tensor],
    steps: Mapping[str, Any],
    overrides: Mapping[str, Any],
    class_counts: Sequence[int] | dict | None = None,
    change: Callable[[Config], None] = lambda cfg: None,
    watch: Callable[[nn.Module], Any] = lambda model: None,
) -> FeatureTraining:
    """Train by a shipped config with MMEngine's runner, in float64.

    Args:
        config: name of the config, below ``configs/``.
        data: the features.
        weights: state dict of all parameters, by ltmm's names.
        steps: of :func:`read_steps`.
        overrides: changes to the config, as in ``--cfg-options``.
        class_counts: of the training set; None counts the labels of ``data``.
        change: makes changes to the config that are more than values.
        watch: called with the network after each step.
    """
    recorder, cfg = FeatureRecorder(weights, watch), read_config(ROOT / 'configs' / config)
    formatted = mock.patch.object(Config, 'pretty_text', '')  # takes seconds
    with TemporaryDirectory() as folder, mock.patch.object(Tensor, 'float', Tensor.double), formatted:
        prepare(cfg, folder, class_counts)
        change(cfg)
        cfg.train_dataloader = dict(
            batch_size=data.labels.shape[1],
            collate_fn=dict(type='default_collate'),
            dataset=dict(
                type='ltmm.GivenFeatures',
                labels=data.labels.tolist(),
                seed=data.seed,
                width=data.width,
                rectifier=data.rectifier,
                all_labels=data.all_labels,
            ),
            sampler=dict(type='ltmm.GivenSteps', epoch_of_step=[*steps['epoch_of_step']]),
        )
        cfg.train_cfg = dict(dict(type='EpochBasedTrainLoop'), **steps['train_cfg'])
        cfg.merge_from_dict(dict(overrides))
        runner = Runner.from_cfg(cfg)
        runner.model.double()
        runner.register_hook(recorder)
        runner.train()
    return FeatureTraining(
        data=data,
        drawn=recorder.drawn,
        start=recorder.start.train(),
        end=runner.model.eval(),
        rates=recorder.rates,
        losses={name: [step[name] for step in recorder.losses] for name in recorder.losses[0]},
        grad_norm=recorder.grad_norm,
        watched=recorder.watched,
        optimizer=runner.optim_wrapper.optimizer,
    )
