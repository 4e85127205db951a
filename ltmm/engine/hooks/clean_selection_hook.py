"""Log how clean the samples are that a loss keeps."""

import numpy as np
from mmengine.runner import Runner

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.evaluation.functional.clean_selection import selection_quality
from ltmm.evaluation.functional.shots import Thresholds, shots_by_convention
from ltmm.models.losses.contrastive.rcal_loss import RCALLoss
from ltmm.registry import HOOKS
from ltmm.utils.errors import InputTypeError
from ltmm.utils.wrappers import unwrap_model

from .co_divide_hook import noisy_dataset
from .progress_hook import BeforeEpochHook

__all__ = ['CleanSelectionHook']


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
        figures = {name: value for name, value in self.figures().items() if not np.isnan(value)}
        for name, value in figures.items():
            runner.message_hub.update_scalar(f'train/clean_{name}', value)
        shown = ', '.join(f'{name} {100 * value:.1f}' for name, value in figures.items())
        runner.logger.info(f'Of the images that are no outliers: {shown} (%)')

    def figures(self) -> dict[str, float]:
        """Return the figures of :func:`~ltmm.evaluation.functional.clean_selection.selection_quality`."""
        selection = self.loss.selection.values.cpu().numpy()
        rows = np.flatnonzero(selection >= 0)  # the training set can be a part of the noisy one
        table, true = self.noisy.get_label_table(), self.noisy.true_labels
        distribution = LabelTable.from_labels(true, table.num_classes, table.class_names).class_distribution()
        shots = shots_by_convention(distribution, thresholds=self.thresholds)
        return selection_quality(selection[rows] == 1, table.labels[rows], true[rows], shots)
