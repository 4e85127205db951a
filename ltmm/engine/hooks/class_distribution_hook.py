"""Hook that counts the training set and hands the class distribution to losses, heads and metrics."""

from collections.abc import Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.models.selfsup import BaseSelfSupervisor
from torch import nn

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.datasets.labels import class_distribution_of
from ltmm.datasets.labels.coco_names import check_coco_names
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.models.accepts import ForeignClassWeights, check_losses, detection_head_classes, heads_with_losses
from ltmm.models.heads.pretrain_head import PretrainHead
from ltmm.models.losses.multi_label.base import UNKNOWN_REMEDIES, MultiLabelLoss
from ltmm.models.losses.objective import Objective
from ltmm.models.state.class_distribution import (
    ClassDistributionBuffer,
    UsesClassDistribution,
    move_to_state_dict,
    set_class_distribution,
    warn_without_num_images,
)
from ltmm.registry import HOOKS
from ltmm.utils.class_counts import is_by_name, missing_names_error, read_counts
from ltmm.utils.class_names import check_class_names, class_names_of, class_names_of_dataset
from ltmm.utils.errors import InputError, InputTypeError
from ltmm.utils.wrappers import unwrap_model

__all__ = ['ClassDistributionHook']

MAX_NAMES = 10  # in a message


@HOOKS.register_module()
class ClassDistributionHook(Hook):
    """Counts the training set once and hands the class distribution to all losses, heads and metrics that take it.

    Validation and test sets need the classes of the training data in the same order, whatever the metric, see
    :func:`ltmm.utils.class_names.check_class_names`.

    A model without such a module gets a buffer, so that every checkpoint carries the prior of its training data. A
    test, or a validation without training, takes the distribution from the checkpoint. Before training the hook also
    checks that losses fit their heads, classes those of the data, and unknown labels (-1) the loss. Self-supervised
    models train on data without labels too, and then have no distribution; their heads may have other classes.

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
        self._foreign_class_weights: ForeignClassWeights | None = None

    def before_run(self, runner: Runner) -> None:
        """Count the training set before weights are loaded."""
        model = unwrap_model(runner.model)
        check_losses(model)
        for metric in _metrics(runner):
            if hasattr(metric, 'check_model'):
                metric.check_model(model)
        if not any(isinstance(module, ClassDistributionBuffer) and module.persistent for module in model.modules()):
            model.add_module('class_distribution', ClassDistributionBuffer())
        if not isinstance(runner._train_loop, BaseLoop):  # a test: the checkpoint brings the distribution
            return
        for dataset in (runner.train_dataloader.dataset, *_test_datasets(runner)):
            check_coco_names(dataset)
        self._foreign_class_weights = ForeignClassWeights(model)
        self.distribution = self._of_training_data(runner)
        if self.distribution is None:
            return
        if not isinstance(model, BaseSelfSupervisor):  # which may predict other things than classes
            _check_num_classes(model, self.distribution)
        _check_unknown_labels(model, runner.train_dataloader.dataset)
        self._hand_out(runner)
        if self.max_table_rows:
            runner.logger.info(f'Training data: {self.distribution.table(self.max_table_rows, _groups(model))}')
        if len(self.distribution.empty_classes):
            runner.logger.warning(_without_samples(self.distribution))

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the class names of the training data, to compare those of the test set."""
        move_to_state_dict(checkpoint, unwrap_model(runner.model))
        self._loaded_names = class_names_of(checkpoint.get('meta'))

    def before_train(self, runner: Runner) -> None:
        """Hand out the counts again: the training data override a loaded or resumed checkpoint."""
        if self.distribution is None:
            return
        model = unwrap_model(runner.model)
        loaded, groups = ClassDistribution.from_state_dict(model.state_dict()), _groups(model)
        if runner._resume:
            self.distribution.check_classes(self._loaded_names, 'the resumed checkpoint')
        if runner._resume and loaded is not None and loaded != self.distribution:
            runner.logger.warning(
                'The class counts differ from those of the resumed checkpoint: '
                f'{self.distribution.summary(groups)} now, {loaded.summary(groups)} then. Training continues with the '
                'present ones.'
            )
        self._hand_out(runner)

    def set_distribution(self, runner: Runner, distribution: ClassDistribution) -> None:
        """Hand out a distribution that becomes known only in training, such as an estimate.

        Args:
            runner: The runner.
            distribution: The class distribution.
        """
        self.distribution = distribution
        self._hand_out(runner)

    def before_val(self, runner: Runner) -> None:
        """Hand out the counts of the checkpoint, if there was no training."""
        self._hand_out_from_checkpoint(runner)

    def before_test(self, runner: Runner) -> None:
        """Hand out the counts of the checkpoint, if there was no training."""
        self._hand_out_from_checkpoint(runner)

    def _of_training_data(self, runner: Runner) -> ClassDistribution | None:
        """Return the distribution; None for a self-supervised model on data without labels."""
        dataset, model = runner.train_dataloader.dataset, unwrap_model(runner.model)
        if self.class_counts is None:
            users = [module for module in model.modules() if isinstance(module, UsesClassDistribution)]
            try:
                return class_distribution_of(dataset, any(module.needs_co_occurrence for module in users))
            except InputTypeError as e:
                if users or not _may_lack_labels(model):
                    raise
                runner.logger.info(f'Training without labels: {e}')
                return None
        counts, names = read_counts(self.class_counts), class_names_of_dataset(dataset)
        if is_by_name(counts) and not names:
            raise missing_names_error('the training set')
        for module in model.modules():
            if isinstance(module, UsesClassDistribution) and module._given is None:
                warn_without_num_images(module, counts)
        return ClassDistribution.build(counts, names)

    def _hand_out_from_checkpoint(self, runner: Runner) -> None:
        if isinstance(runner._train_loop, BaseLoop):
            return
        for dataset in _test_datasets(runner):
            check_coco_names(dataset)
        names = self._loaded_names
        self.distribution = ClassDistribution.from_state_dict(unwrap_model(runner.model).state_dict(), names)
        if self.distribution is not None:
            self._hand_out(runner)
        elif names:
            for where, tested in _class_names(runner).items():
                check_class_names(names, tested, where)

    def _hand_out(self, runner: Runner) -> None:
        """Set the distribution of all modules and metrics that take one."""
        set_class_distribution(unwrap_model(runner.model), self.distribution)
        if self._foreign_class_weights is not None:
            self._foreign_class_weights.set_class_distribution(self.distribution)
        for where, names in _class_names(runner).items():
            self.distribution.check_classes(names, where)
        for metric in _metrics(runner):
            if hasattr(metric, 'set_class_distribution'):
                metric.set_class_distribution(self.distribution)


def _may_lack_labels(model: nn.Module) -> bool:
    """Whether a model trains on data without labels: a self-supervised one."""
    heads = (module for module in model.modules() if isinstance(module, PretrainHead))
    return isinstance(model, BaseSelfSupervisor) or any(not head.loss_module.needs_labels for head in heads)


def _loops(runner: Runner) -> dict[str, BaseLoop]:
    """Return the loops of validation and test, as far as they are built."""
    loops = {'the validation set': runner._val_loop, 'the test set': runner._test_loop}
    return {where: loop for where, loop in loops.items() if isinstance(loop, BaseLoop)}


def _metrics(runner: Runner) -> list[BaseMetric]:
    """Return all metrics of validation and test."""
    return [metric for loop in _loops(runner).values() for metric in loop.evaluator.metrics]


def _test_datasets(runner: Runner) -> list[Any]:
    """Return the datasets for validation and test."""
    return [loop.dataloader.dataset for loop in _loops(runner).values()]


def _class_names(runner: Runner) -> dict[str, Sequence[str]]:
    """Return the known class names of the datasets for validation and test."""
    names = {where: (loop.evaluator.dataset_meta or {}).get('classes') for where, loop in _loops(runner).items()}
    return {where: classes for where, classes in names.items() if classes}


def _groups(model: nn.Module) -> str:
    """Return the groups of classes in the log, see :meth:`ltmm.ClassDistribution.groups`: those of the metric."""
    if any(isinstance(module, detection_head_classes()) for module in model.modules()):
        return 'lvis'
    return 'multi_label' if any(isinstance(module, MultiLabelClsHead) for module in model.modules()) else 'shots'


def _check_num_classes(model: nn.Module, distribution: ClassDistribution) -> None:
    """Refuse a head with other classes than the training data; proposals have no classes."""
    expected, names = len(distribution), distribution.class_names or ()
    for name, head in model.named_modules():
        if not isinstance(head, heads_with_losses()) or 'rpn_head' in name:
            continue
        num_classes = getattr(head, 'num_classes', expected)  # some heads of mmpretrain have none
        if num_classes != expected:
            is_detector = isinstance(head, detection_head_classes())
            hint = ' It does not count background.' if is_detector and num_classes == expected + 1 else ''
            raise ClassDistributionError(
                f'The training data have {expected} classes{_listed(names)}, but model.{name}.num_classes is '
                f'{num_classes}.{hint} Set it in the config, or name the classes by '
                'train_dataloader.dataset.metainfo=dict(classes=[...]).'
            )


def _without_samples(distribution: ClassDistribution) -> str:
    """Name the classes without training samples."""
    empty, names = distribution.empty_classes, distribution.class_names
    listed = _listed([names[label] for label in empty] if names else empty)
    return f'{len(empty)} of {len(distribution)} classes have no training samples{listed}; the model cannot learn them.'


def _listed(names: Sequence) -> str:
    """Return the first names in brackets."""
    shown = ', '.join(map(str, names[:MAX_NAMES])) + ', ...' * (len(names) > MAX_NAMES)
    return f' ({shown})' if shown else ''


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
