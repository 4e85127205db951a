"""Raise and lower the strength of augmentation per class, for CUDA."""

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset, DefaultSampler
from mmengine.runner import Runner
from torch import Tensor
from torch.utils.data import Dataset

from ltmm.datasets.images import base_datasets
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.datasets.samplers.class_members import ClassMembers
from ltmm.datasets.transforms.curriculum_augment import MAX_STRENGTH, CurriculumAugment
from ltmm.models.state.curriculum import CurriculumLevels
from ltmm.registry import HOOKS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError
from ltmm.utils.loaders import loader_like
from ltmm.utils.wrappers import unwrap_model

from .progress_hook import BeforeEpochHook
from .train_features_hook import evaluation_mode, unchanged_random_state

__all__ = ['AtStrengths', 'CurriculumHook', 'draw_trials']


def draw_trials(
    members: ClassMembers, levels: np.ndarray, num_images: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw images of each class for each strength s up to its level, ``num_images * (s + 1)`` of them, repeats allowed.

    Args:
        members: Images of each class; classes without images are left out.
        levels: (C,).
        num_images: At strength 0.
        rng: Random generator.

    Returns:
        Index, class and strength of each draw, (M,).
    """
    num_strengths = np.where(members.counts > 0, levels + 1, 0)  # (C,)
    classes = np.repeat(np.arange(len(levels)), num_strengths)
    strengths = np.arange(len(classes)) - np.repeat(np.cumsum(num_strengths) - num_strengths, num_strengths)
    times = num_images * (strengths + 1)
    classes, strengths = np.repeat(classes, times), np.repeat(strengths, times)  # (M,)
    first = np.cumsum(members.counts) - members.counts  # (C,)
    return members.samples[first[classes] + rng.integers(members.counts[classes])], classes, strengths


class AtStrengths(Dataset):
    """Training images at given strengths; their random numbers depend on seed and position alone.

    Args:
        dataset: The training data.
        augments: The curriculum transforms in its pipeline.
        samples: Indices, (M,).
        strengths: (M,).
        seed: Of the random numbers.
    """

    def __init__(
        self,
        dataset: Any,
        augments: Sequence[CurriculumAugment],
        samples: np.ndarray,
        strengths: np.ndarray,
        seed: tuple[int, ...],
    ) -> None:
        self.dataset, self.augments = dataset, augments
        self.samples, self.strengths, self.seed = samples, strengths, seed

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, position: int) -> dict:
        seed = int(np.random.SeedSequence((*self.seed, position)).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        for augment in self.augments:
            augment.strength = int(self.strengths[position])
        try:
            return self.dataset[int(self.samples[position])]
        finally:
            for augment in self.augments:
                augment.strength = None


@HOOKS.register_module()
class CurriculumHook(BeforeEpochHook):
    r"""Before every epoch, augments the classes more that the model knows, and the others less.

    For each strength s up to the level L of a class, :math:`10 (s + 1)` of its training images are drawn and augmented
    at strength s. If the model, in evaluation mode, is right on more than 60 % of them at every s, L rises by 1,
    otherwise it falls by 1. All levels start at 0. Frequent classes are learned and raised first. It fits any
    classifier, loss and pipeline with ``ltmm.CurriculumAugment``.

    A check costs :math:`\sum_c 5 (L_c + 1)(L_c + 2)` forward passes. It leaves random numbers, modes and batch-norm
    statistics of the training as they are, and is the same for any number of processes. Checkpoints hold the levels.

    [0] Ahn et al., CUDA: Curriculum of Data Augmentation for Long-Tailed Recognition, ICLR 2023, arXiv 2302.05499.

    Args:
        num_images: Images of a class at strength 0; 10 in [0].
        threshold: Accuracy that has to be exceeded; 0.6 in [0].
        max_level: Highest level, at most 30.
    """

    priority = 'HIGH'  # after ProgressHook

    def __init__(self, num_images: int = 10, threshold: float = 0.6, max_level: int = 10) -> None:
        check(
            num_images=(num_images, 'int >= 1'),
            threshold=(threshold, 'in [0, 1]'),
            max_level=(max_level, range(1, MAX_STRENGTH + 1)),
        )
        self.num_images, self.threshold, self.max_level = num_images, threshold, max_level

    def before_run(self, runner: Runner) -> None:
        """Make the levels a part of the model, before weights are loaded."""
        unwrap_model(runner.model).add_module('curriculum', CurriculumLevels())

    def before_train(self, runner: Runner) -> None:
        """Find the transforms, and share the levels with the workers."""
        dataset, levels = runner.train_dataloader.dataset, unwrap_model(runner.model).curriculum
        pipelines = [part.pipeline.transforms for part in base_datasets(dataset) if isinstance(part, BaseDataset)]
        self.augments = list(_curriculum_augments(pipelines))
        if not self.augments:
            raise InputError(
                "CurriculumHook needs dict(type='ltmm.CurriculumAugment') in the pipeline of the training data."
            )
        table = LabelTable.from_dataset(dataset)
        if not table.is_single_label:
            raise InputError('CurriculumHook needs one label per image.')
        if len(levels.values) != table.num_classes:  # new, or loaded from a training on other data
            levels.values = levels.values.new_zeros(table.num_classes)
        self._members = ClassMembers.from_table(table)
        self._shared = levels.values.cpu().clone().share_memory_()
        for augment in self.augments:
            augment.levels = self._shared

    def before_every_epoch(self, runner: Runner, epoch: int) -> None:
        """Change the levels."""
        levels = unwrap_model(runner.model).curriculum
        rng = np.random.default_rng((runner.seed, epoch))
        samples, classes, strengths = draw_trials(self._members, self._shared.numpy(), self.num_images, rng)
        trials = AtStrengths(runner.train_dataloader.dataset, self.augments, samples, strengths, (runner.seed, epoch))
        sampler = DefaultSampler(trials, shuffle=False, seed=0, round_up=False)
        with unchanged_random_state():
            predicted = _predictions(unwrap_model(runner.model), loader_like(runner.train_dataloader, trials, sampler))
        own = list(sampler)  # of this rank
        classes, strengths = torch.from_numpy(classes)[own], torch.from_numpy(strengths)[own]
        drawn = torch.zeros(len(self._shared), self.max_level + 1, dtype=torch.float64)
        correct = drawn.clone()
        drawn.index_put_((classes, strengths), torch.ones(len(own), dtype=drawn.dtype), accumulate=True)
        correct.index_put_((classes, strengths), (predicted == classes).to(drawn), accumulate=True)
        levels.update(correct, drawn, self.threshold, self.max_level)
        self._shared.copy_(levels.values)
        runner.logger.info(f'Curriculum: mean level {self._shared.double().mean():.2f}, highest {self._shared.max()}.')


@torch.no_grad()
def _predictions(model: torch.nn.Module, loader: Any) -> Tensor:
    """Predict the classes of all images in evaluation mode, (M,), on the CPU; restore the modes."""
    with evaluation_mode(model):
        predictions = [torch.cat([sample.pred_label for sample in model.val_step(batch)]) for batch in loader]
    return torch.cat([torch.zeros(0, dtype=torch.int64), *(batch.cpu() for batch in predictions)])


def _curriculum_augments(steps: Sequence) -> Iterator[CurriculumAugment]:
    """Yield the curriculum transforms among the steps of a pipeline, also those inside of other transforms.

    Compose, RandomApply, RandomChoice and MultiView share no base class, only the attribute ``transforms``.
    """
    for step in steps:
        if isinstance(step, CurriculumAugment):
            yield step
        else:
            yield from _curriculum_augments(step if isinstance(step, list) else getattr(step, 'transforms', ()))
