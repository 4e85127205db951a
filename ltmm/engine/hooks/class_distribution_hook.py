"""Hook that counts the training set and hands the class distribution to losses, heads and metrics."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmpretrain.models.heads import MultiLabelClsHead
from torch import nn

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.datasets.labels import class_distribution_of
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.models.accepts import check_losses, detection_head_classes
from ltmm.models.losses.multi_label.base import UNKNOWN_REMEDIES, MultiLabelLoss
from ltmm.models.losses.objective import Objective
from ltmm.models.state.class_distribution import ClassDistributionBuffer
from ltmm.registry import HOOKS
from ltmm.utils.errors import InputError
from ltmm.utils.wrappers import unwrap_model

__all__ = ['ClassDistributionHook']


@HOOKS.register_module()
class ClassDistributionHook(Hook):
    """Counts the training set once and hands the class distribution to all losses, heads and metrics that take it.

    A model without such a module gets a buffer, so that every checkpoint carries the prior of its training data. A
    test, or a validation without training, takes the distribution from the checkpoint. Before training the hook also
    checks that losses fit their heads, classes those of the data, and unknown labels (-1) the loss.

    Args:
        class_counts: Counts to use in place of the training set's, see :meth:`ltmm.ClassDistribution.build`.
        max_table_rows: Classes in the table that is logged at the start of training; 0 for no table.
    """

    priority = 'VERY_HIGH'

    def __init__(
        self, class_counts: Sequence[int] | dict[str, int] | str | None = None, max_table_rows: int = 20
    ) -> None:
        self.class_counts = class_counts
        self.max_table_rows = max_table_rows
        self.distribution: ClassDistribution | None = None
        self._loaded_names: Sequence[str] | None = None

    def before_run(self, runner: Runner) -> None:
        """Count the training set before weights are loaded."""
        model = unwrap_model(runner.model)
        check_losses(model)
        for metric in _metrics(runner):
            if hasattr(metric, 'check_model'):
                metric.check_model(model)
        if not any(isinstance(module, ClassDistributionBuffer) for module in model.modules()):
            model.add_module('class_distribution', ClassDistributionBuffer())
        if not isinstance(runner._train_loop, BaseLoop):  # a test: the checkpoint brings the distribution
            return
        self.distribution = self._of_training_data(runner)
        _check_num_classes(model, len(self.distribution))
        _check_unknown_labels(model, runner.train_dataloader.dataset)
        self._hand_out(runner)
        if self.max_table_rows:
            runner.logger.info(f'Training data: {self.distribution.table(self.max_table_rows)}')

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the class names of the training data, to refuse a test set with another order."""
        self._loaded_names = ((checkpoint.get('meta') or {}).get('dataset_meta') or {}).get('classes')

    def before_train(self, runner: Runner) -> None:
        """Hand out the counts again: the training data override a loaded or resumed checkpoint."""
        loaded = ClassDistribution.from_state_dict(unwrap_model(runner.model).state_dict())
        if runner._resume and loaded is not None and loaded != self.distribution:
            runner.logger.warning(
                f'The class counts differ from those of the resumed checkpoint: {self.distribution.summary()} now, '
                f'{loaded.summary()} then. Training continues with the present ones.'
            )
        self._hand_out(runner)

    def before_val(self, runner: Runner) -> None:
        """Hand out the counts of the checkpoint, if there was no training."""
        self._hand_out_from_checkpoint(runner)

    def before_test(self, runner: Runner) -> None:
        """Hand out the counts of the checkpoint, if there was no training."""
        self._hand_out_from_checkpoint(runner)

    def _of_training_data(self, runner: Runner) -> ClassDistribution:
        dataset = runner.train_dataloader.dataset
        if self.class_counts is None:
            return class_distribution_of(dataset)
        return ClassDistribution.build(self.class_counts, getattr(dataset, 'metainfo', {}).get('classes'))

    def _hand_out_from_checkpoint(self, runner: Runner) -> None:
        if self.distribution is None:
            self.distribution = ClassDistribution.from_state_dict(unwrap_model(runner.model).state_dict())
            if self.distribution is not None:
                names = self._loaded_names
                if names is not None and len(names) == len(self.distribution):
                    self.distribution = replace(self.distribution, class_names=tuple(names))
                self._hand_out(runner)

    def _hand_out(self, runner: Runner) -> None:
        """Set the distribution of all modules and metrics that take one."""
        for module in unwrap_model(runner.model).modules():
            if hasattr(module, 'set_class_distribution'):
                module.set_class_distribution(self.distribution)
        top = getattr(unwrap_model(runner.model), 'class_distribution', None)
        if isinstance(top, ClassDistributionBuffer) and not top.pinned:
            top.set(self.distribution)
        for metric in _metrics(runner):
            if hasattr(metric, 'set_class_distribution'):
                metric.set_class_distribution(self.distribution)


def _metrics(runner: Runner) -> list[BaseMetric]:
    """Return all metrics of validation and test."""
    loops = (loop for loop in (runner._val_loop, runner._test_loop) if isinstance(loop, BaseLoop))
    return [metric for loop in loops for metric in loop.evaluator.metrics]


def _check_num_classes(model: nn.Module, num_classes: int) -> None:
    """Refuse a detection head with other classes than the training data; proposals have no classes."""
    for name, head in model.named_modules():
        if isinstance(head, detection_head_classes()) and 'rpn_head' not in name and head.num_classes != num_classes:
            raise ClassDistributionError(
                f'Expected `{name}.num_classes` to be {num_classes}, the number of classes in the training data, but '
                f'got {head.num_classes}. Set it in the config, or name the classes by '
                'train_dataloader.dataset.metainfo=dict(classes=[...]).'
            )


def _check_unknown_labels(model: nn.Module, dataset: Any) -> None:
    """Refuse unknown labels in the training data of a multi-label head whose losses do not support them."""
    for name, head in model.named_modules():
        if not isinstance(head, MultiLabelClsHead):
            continue
        losses = [head.loss_module, *(module for module in head.modules() if isinstance(module, MultiLabelLoss))]
        refusing = [
            loss
            for loss in losses
            if not (loss.accepts_unknown if isinstance(loss, MultiLabelLoss) else isinstance(loss, Objective))
        ]
        table = _label_table(dataset) if refusing else None
        if table is not None and table.has_unknown:
            raise InputError(
                f'{type(refusing[0]).__name__} of {name} does not support unknown labels, but {table.unknown.sum()} of '
                f'{len(table)} training images have some (-1 in `gt_score`). {UNKNOWN_REMEDIES}'
            )


def _label_table(dataset: Any) -> LabelTable | None:
    """Return the labels of a dataset, or None where they cannot be read and the config gives the counts."""
    try:
        return LabelTable.from_dataset(dataset, unrepeated=True)
    except (TypeError, ValueError):
        return None
