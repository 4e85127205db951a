"""Let two networks take turns, and log how clean is what they select."""

from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner

from ltmm.datasets.samplers.co_divide_batch_sampler import CoDivideBatchSampler
from ltmm.evaluation.functional.shots import Thresholds
from ltmm.models.classifiers.co_divide_classifier import CoDivideClassifier
from ltmm.registry import HOOKS
from ltmm.utils.errors import InputError
from ltmm.utils.wrappers import unwrap_model

from .clean_selection_hook import clean_selection, log_clean_selection, noisy_dataset

__all__ = ['CoDivideHook']


@HOOKS.register_module()
class CoDivideHook(Hook):
    """Gives :class:`ltmm.models.CoDivideClassifier` its batches, and logs precision and recall of its selections.

    The figures need an ``ltmm.NoisyLabels``, which knows the true labels. Nothing else reads them. They are means of
    both networks, over all classes and over many-, medium- and few-shot ones by the number of images that truly belong
    to a class: ``clean_precision``, ``clean_recall_few`` and so on, in the log of the training and its scalars, which
    ``tools/analysis_tools/plot_selection.py`` draws.

    Args:
        thresholds: Limits of the groups, see :func:`ltmm.evaluation.functional.shots_by_convention`.
    """

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self.thresholds = thresholds

    def before_train(self, runner: Runner) -> None:
        """Check the parts, and find the true labels."""
        self.model, self.batches = unwrap_model(runner.model), runner.train_dataloader.batch_sampler
        if not isinstance(self.model, CoDivideClassifier) or not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise InputError(
                'CoDivideHook needs ltmm.CoDivideClassifier in training by epochs, but got '
                f'{type(self.model).__name__} in {type(runner.train_loop).__name__}.'
            )
        if not isinstance(self.batches, CoDivideBatchSampler):
            raise InputError(
                "CoDivideHook needs train_dataloader.batch_sampler=dict(type='ltmm.CoDivideBatchSampler'), but got "
                f'{type(self.batches).__name__}.'
            )
        self.noisy = noisy_dataset(runner.train_dataloader.dataset)

    def before_train_epoch(self, runner: Runner) -> None:
        """Hand the selection to the batches, and log it."""
        selected = self.model.selected
        self.batches.selected = None if selected is None else selected.cpu().numpy()
        if selected is not None:
            self._log(runner, self.batches.selected)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.model.step = self.batches.steps[batch_idx]

    def _log(self, runner: Runner, selected: np.ndarray) -> None:
        sizes = ' and '.join(f'{num:,}' for num in selected.sum(1))
        runner.logger.info(f'Selected as clean by network 1 and 2: {sizes} of {selected.shape[1]:,} samples')
        for k in np.flatnonzero(~selected.any(axis=1)):
            runner.logger.warning(f'Network {2 - k} is not trained in this epoch: network {k + 1} selects no sample.')
        if self.noisy is not None:
            rows = self.model.sample_idx.cpu().numpy()
            each = [clean_selection(chosen, rows, self.noisy, self.thresholds) for chosen in selected]
            means = {name: float(np.mean([figures[name] for figures in each])) for name in each[0]}
            log_clean_selection(runner, means, 'Mean of both selections')
