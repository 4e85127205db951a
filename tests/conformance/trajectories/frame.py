"""Train by a shipped config, from given weights on given batches, and record what the authors recorded."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from .weights import EVALUATION, PLAIN, TRANSPOSED, compare_state, draw_images, draw_state

__all__ = ['WORDS', 'Given', 'GivenSteps', 'Recorder', 'Training', 'given', 'given_views', 'prepare', 'train']

# Text in the hyper-parameters of the files of several views, for `ignores`.
WORDS = {
    **dict.fromkeys(('system', 'repo', 'files', 'deviations', 'traps', '*_about'), 'words'),
    **dict.fromkeys(('rules', 'images'), 'in words what weights.py draws'),
    'sensitivity': 'far below what is allowed',
}


@dataclass
class Given:
    """Everything that a case gives: weights, batches, and when they come.

    Args:
        class_counts: training images per class.
        labels: (steps, N), class indices.
        epoch_of_step: when each step happens, from 0. Schedules and hooks walk through the epochs without a step.
        max_epochs: length of the training.
        seed_x: of the images.
        optimizer: arguments of the optimizer.
        weights: state dict at the start, by the authors' names.
        transposed: those of its names that the authors store as (in, out).
        num_views: of each image.
        size: of the images.
        first_step: number of the first step, where a stage goes on from another.
        loaded: state dict of the stage before, by ltmm's names, of which the config loads its parts.
        plain_labels: (batches, N), of the images of which :class:`UsesTrainFeatures` gets the features.
        unused: tensors of the authors' network that take no part in the training.
    """

    class_counts: Sequence[int]
    labels: Sequence[Sequence[int]]
    epoch_of_step: Sequence[int]
    max_epochs: int
    seed_x: int
    optimizer: Mapping[str, Any]
    weights: dict[str, Tensor]
    transposed: set[str]
    num_views: int = 1
    size: int = 32
    first_step: int = 0
    loaded: dict[str, Tensor] | None = None
    plain_labels: Sequence[Sequence[int]] | None = None
    unused: dict[str, Tensor] = field(default_factory=dict)


def given(
    case: Case, num_views: int = 1, class_counts: Sequence[int] | None = None, max_epochs: int | None = None
) -> Given:
    """Read a case of the classification experts' format: steps at chosen epochs."""
    params, labels = case.params, case.arrays['labels']
    shape = (len(params['epoch_of_step']), params['batch'])
    case.check('labels', np.random.RandomState(params['seed_y']).randint(0, params['num_classes'], shape), labels)
    return _given(
        case,
        params['init'],
        class_counts=class_counts or params['class_counts'],
        epoch_of_step=params['epoch_of_step'],
        max_epochs=max_epochs or params['total_epochs'],
        num_views=num_views,
    )


def given_views(case: Case, num_views: int = 1) -> Given:
    """Read a case of the format of mixing and contrastive methods: every epoch is one step."""
    params = case.params
    steps = params['steps']
    case.check('labels', case.arrays['labels'].shape, (steps, params['batch']))
    when = dict(epoch_of_step=range(steps), max_epochs=params['epochs'] if 'epochs' in params else steps)
    return _given(case, params['state_dict'], class_counts=params['cls_num_list'], num_views=num_views, **when)


def _given(case: Case, entries: list, class_counts: list[int], **kwargs: Any) -> Given:
    return Given(
        class_counts=class_counts,
        labels=case.arrays['labels'].tolist(),
        seed_x=case.params['seed_x'],
        optimizer=dict(case.params['optimizer']),
        weights=draw_state(entries, case.params['seed_w'], len(class_counts)),
        transposed={name for _, name, _, rule in entries if rule in TRANSPOSED},
        **kwargs,
    )


@DATASETS.register_module()
class GivenImages(Dataset):
    """The images of all steps in a row, each in one or several views; with ``test_mode`` the plain images."""

    def __init__(
        self,
        labels: Sequence[Sequence[int]],
        seed: int,
        first_step: int,
        size: int,
        num_views: int,
        plain_labels: Sequence[Sequence[int]] | None = None,
        test_mode: bool = False,
    ) -> None:
        self.labels, self.first_step = (plain_labels, PLAIN) if test_mode else (labels, first_step)
        self.seed, self.size, self.num_views = seed, size, num_views
        self.metainfo: dict = {}

    def __len__(self) -> int:
        return sum(map(len, self.labels))

    def __getitem__(self, index: int) -> dict:
        batch = len(self.labels[0])
        step, i = divmod(index, batch)
        views = [draw_images(self.seed, self.first_step + step, batch, self.size, v)[i] for v in range(self.num_views)]
        sample = DataSample(metainfo=dict(sample_idx=index)).set_gt_label(self.labels[step][i])
        return dict(inputs=views if self.num_views > 1 else views[0], data_samples=sample)


@DATA_SAMPLERS.register_module()
class GivenSteps(Sampler):
    """Samples the images of the steps of an epoch; none in an epoch without a step."""

    def __init__(self, dataset: GivenImages, epoch_of_step: Sequence[int], seed: int | None = None) -> None:
        self.batch, self.epoch_of_step, self.epoch = len(dataset.labels[0]), epoch_of_step, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batch * max(Counter(self.epoch_of_step).values())

    def __iter__(self) -> Iterator[int]:
        for step, epoch in enumerate(self.epoch_of_step):
            if epoch == self.epoch:
                yield from range(step * self.batch, (step + 1) * self.batch)


class Recorder(Hook):
    """Records the network at the start, and rates and losses of each step."""

    priority = 'VERY_LOW'

    def __init__(self) -> None:
        self.rates: list[dict[str, list[float]]] = []
        self.losses: list[dict[str, float]] = []

    def before_train_epoch(self, runner: Runner) -> None:
        if runner.epoch == 0:
            self.start = copy.deepcopy(runner.model)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None) -> None:
        self.rates.append(runner.optim_wrapper.get_lr())

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        self.losses.append({name: value.item() for name, value in outputs.items()})


@dataclass
class Training:
    """Result of a training of ltmm on the data of a case.

    Args:
        given: the data.
        our_name: from the authors' name of a tensor to ltmm's.
        start: the network before the first step, in training mode.
        end: the network after the last step, in evaluation mode.
        rates: of each step, for every group of parameters, as the optimizer wrapper gives them.
        losses: ``loss`` and its terms, of each step.
    """

    given: Given
    our_name: Callable[[str], str]
    start: nn.Module
    end: nn.Module
    rates: list[dict[str, list[float]]]
    losses: dict[str, list[float]]

    @property
    def lr(self) -> list[float]:
        """The rate of each step, the same for all parameters."""
        assert all(len({*step['lr']}) == 1 for step in self.rates)
        return [step['lr'][0] for step in self.rates]

    def lr_of(self, name: str) -> list[float]:
        """The rate of each step of one parameter, where the config sets rates of parameters.

        Args:
            name: the parameter, by ltmm's name.
        """
        names = [name for name, _ in self.start.named_parameters()]
        return [dict(zip(names, step['lr'], strict=True))[name] for step in self.rates]

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """State dict of ``start`` or ``end`` by the authors' names."""
        ours = model.state_dict()
        named = {name: ours[self.our_name(name)] for name in self.given.weights}
        named = {name: value.T if name in self.given.transposed else value for name, value in named.items()}
        return named | self.given.unused

    @torch.no_grad()
    def compare(self, case: Case, logits: Callable[[nn.Module, Tensor], Tensor]) -> dict[str, Any]:
        """Compare the final state and return the outputs common to the classification experts' format.

        Args:
            case: the case.
            logits: from network and images to logits as the authors stored them.
        """
        end = self.state(self.end)
        compare_state(case, 'state', (end[name] for _, name, _ in case.params['state']))
        return dict(
            loss_total=self.losses['loss'],
            lr=self.lr,
            train_logits_step0=logits(self.start, self.images(0, self.given.num_views)),
            eval_logits=self.predict(logits),
        )

    @torch.no_grad()
    def predict(self, logits: Callable[[nn.Module, Tensor], Tensor] = nn.Module.__call__) -> Tensor:
        """``logits(network at the end, images)`` of the evaluation batch."""
        return logits(self.end, self.images(EVALUATION))

    def images(self, step: int, num_views: int = 1) -> Tensor:
        """The images of a step, view after view, where the network is."""
        given, batch = self.given, len(self.given.labels[0])
        views = [draw_images(given.seed_x, step, batch, given.size, v) for v in range(num_views)]
        return torch.cat(views).to(next(self.end.parameters()).device)


def train(given: Given, config: str, our_name: Callable[[str], str], overrides: Mapping[str, Any]) -> Training:
    """Train by a shipped config with MMEngine's runner, in float64.

    Args:
        given: weights, batches, class counts, epochs, optimizer.
        config: name of the config, below ``configs/``.
        our_name: from the authors' name of a tensor to ltmm's.
        overrides: changes to the config, as in ``--cfg-options``.
    """
    recorder = Recorder()
    # as in the authors' runs, where `.float()` gives float64 too; mmpretrain's data preprocessor calls it
    with TemporaryDirectory() as folder, mock.patch.object(Tensor, 'float', Tensor.double):
        runner = Runner.from_cfg(_config(given, read_config(ROOT / 'configs' / config), folder, overrides))
        runner.model.double()
        runner.register_hook(recorder)
        _save_weights(given, runner.model, our_name, runner._load_from)
        collate = dict(type='default_collate')
        runner.cfg.test_dataloader = dict(
            batch_size=len(given.labels[0]), num_workers=0, collate_fn=collate, dataset={}
        )
        runner.train()
    return Training(
        given=given,
        our_name=our_name,
        start=recorder.start.train(),
        end=runner.model.eval(),
        rates=recorder.rates,
        losses={name: [step[name] for step in recorder.losses] for name in recorder.losses[0]},
    )


def _config(given: Given, cfg: Config, folder: str, overrides: Mapping[str, Any]) -> Config:
    """The shipped config on the given data, without validation, checkpoints and normalisation of the images."""
    prepare(cfg, folder, given.class_counts)
    cfg.train_dataloader.dataset = dict(
        type='ltmm.GivenImages',
        labels=given.labels,
        seed=given.seed_x,
        first_step=given.first_step,
        size=given.size,
        num_views=given.num_views,
        plain_labels=given.plain_labels,
    )
    cfg.train_dataloader.sampler = dict(type='ltmm.GivenSteps', epoch_of_step=[*given.epoch_of_step])
    if cfg.model.head.type != 'ltmm.PretrainHead':
        cfg.model.head.num_classes = len(given.class_counts)
    cfg.merge_from_dict(
        {
            'data_preprocessor.num_classes': len(given.class_counts),
            'train_dataloader.batch_size': len(given.labels[0]),
            'train_dataloader.num_workers': 0,
            'train_cfg.max_epochs': given.max_epochs,
            'optim_wrapper.optimizer': given.optimizer,
            'load_from': f'{folder}/given.pth',
            **overrides,
        }
    )
    return cfg


def prepare(cfg: Config, folder: str, class_counts: Sequence[int] | dict | None) -> None:
    """Take validation, checkpoints and normalization of the images out of a config, and set the class counts."""
    for part in ('val_dataloader', 'val_cfg', 'val_evaluator', 'test_dataloader', 'test_cfg', 'test_evaluator'):
        cfg[part] = None
    for key in ('mean', 'std', 'to_rgb'):
        cfg.get('data_preprocessor', {}).pop(key, None)
    (counting,) = (hook for hook in cfg.custom_hooks if hook.type == 'ltmm.ClassDistributionHook')
    counting.class_counts = class_counts
    cfg.default_hooks.checkpoint = dict(type='CheckpointHook', interval=-1, save_last=False)
    cfg.work_dir, cfg.log_level = folder, 'WARNING'
    cfg.experiment_name = Path(folder).name  # MMEngine keeps loggers, messages and visualizers of a name
    cfg.visualizer = dict(type='Visualizer', name=cfg.experiment_name)


def _save_weights(given: Given, model: nn.Module, our_name: Callable[[str], str], path: str) -> None:
    """Write a checkpoint of the stage before, or of the given weights, which must fill all but the class counts."""
    weights = {our_name(name): value.T if name in given.transposed else value for name, value in given.weights.items()}
    ours = {name for name in model.state_dict() if 'class_distribution' not in name}
    assert ours == weights.keys(), f'in the model or in the case only: {sorted(ours ^ weights.keys())}'
    weights = {name: value.contiguous() for name, value in weights.items()}
    model.load_state_dict(weights, strict=False)
    torch.save(dict(state_dict=given.loaded or weights), path)
