"""Log how clean the samples are that a method for noisy labels selects."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.runner import Runner

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.datasets.wrappers.noisy_labels import NoisyLabels
from ltmm.evaluation.functional.clean_selection import selection_quality
from ltmm.evaluation.functional.shots import Thresholds, shots_by_convention
from ltmm.models.losses.contrastive.rcal_loss import RCALLoss
from ltmm.registry import HOOKS
from ltmm.utils.errors import InputTypeError
from ltmm.utils.wrappers import unwrap_model

from .progress_hook import BeforeEpochHook

__all__ = ['CleanSelectionHook', 'clean_selection', 'log_clean_selection', 'noisy_dataset']


def noisy_dataset(dataset: Any) -> NoisyLabels | None:
    """Return the dataset of noisy labels inside any wrappers, or None."""
    while not isinstance(dataset, NoisyLabels) and hasattr(dataset, 'dataset'):
        dataset = dataset.dataset
    return dataset if isinstance(dataset, NoisyLabels) else None


def clean_selection(
    selected: np.ndarray, rows: np.ndarray, noisy: NoisyLabels, thresholds: Thresholds | None = None
) -> dict[str, float]:
    """Compute precision and recall of selected samples, see :func:`selection_quality`; groups by the true labels.

    Args:
        selected: Boolean, (N,).
        rows: Index of each sample in ``noisy``, (N,).
        noisy: The dataset, which knows the true labels.
        thresholds: Limits of the groups, see :func:`ltmm.evaluation.functional.shots_by_convention`.
    """
    table, true = noisy.get_label_table(), noisy.true_labels
    distribution = LabelTable.from_labels(true, table.num_classes, table.class_names).class_distribution()
    shots = shots_by_convention(distribution, thresholds=thresholds)
    return selection_quality(selected, table.labels[rows], true[rows], shots)


def log_clean_selection(runner: Runner, figures: Mapping[str, float], what: str) -> None:
    """Write figures of :func:`clean_selection` to log and scalars, without those of groups that have none.

    Args:
        runner: The runner.
        figures: Shares by name.
        what: Start of the line in the log.
    """
    figures = {name: value for name, value in figures.items() if not np.isnan(value)}
    for name, value in figures.items():
        runner.message_hub.update_scalar(f'train/clean_{name}', value)
    shown = ', '.join(f'{name} {100 * value:.1f}' for name, value in figures.items())
    runner.logger.info(f'{what}: {shown} (%)')


@HOOKS.register_module()
class CleanSelectionHook(BeforeEpochHook):
    """Logs precision and recall of the samples that ``ltmm.RCALLoss`` keeps, once.

    The figures need an ``ltmm.NoisyLabels``, which knows the true labels. Nothing else reads them. They have the names
    of :class:`CoDivideHook`: ``clean_precision``, ``clean_recall_few`` and so on, in the log of the training and its
    scalars; many-, medium- and few-shot classes are those by the true labels.

    Args:
        thresholds: Limits of the groups, see :func:`ltmm.evaluation.functional.shots_by_convention`.
    """

    priority = 'LOW'  # after TrainFeaturesHook

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self.thresholds = thresholds

    def before_train(self, runner: Runner) -> None:
        """Find the loss and the true labels."""
        losses = [module for module in unwrap_model(runner.model).modules() if isinstance(module, RCALLoss)]
        self.noisy = noisy_dataset(runner.train_dataloader.dataset)
        if len(losses) != 1 or self.noisy is None:
            raise InputTypeError(
                'CleanSelectionHook needs one ltmm.RCALLoss and ltmm.NoisyLabels as training data, but got '
                f'{len(losses)} and {type(runner.train_dataloader.dataset).__name__}: leave the hook out.'
            )
        self.loss, self.is_logged = losses[0], False

    def before_every_epoch(self, runner: Runner, epoch: int) -> None:
        """Log the figures before the first epoch, also of a resumed training."""
        if self.is_logged:
            return
        self.is_logged = True
        selection = self.loss.selection.values.cpu().numpy()
        rows = np.flatnonzero(selection >= 0)  # the training set can be a part of the noisy one
        figures = clean_selection(selection[rows] == 1, rows, self.noisy, self.thresholds)
        log_clean_selection(runner, figures, 'Of the images that are no outliers')
