"""The road from the training data to everyone who needs to know who is frequent."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, Runner
from torch import nn

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.datasets.labels import class_distribution_of
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.models.fits import PLACES, check_losses_fit, head_kind
from ltmm.models.losses.multi_label.base import UNKNOWN_REMEDIES
from ltmm.models.state.class_distribution import ClassDistributionBuffer
from ltmm.registry import HOOKS
from ltmm.utils.wrappers import unwrapped

__all__ = ['ClassDistributionHook']

DETECTION_HEADS = ('roi', 'own_roi', 'dense', 'detr', 'ltmm_dense', 'ltmm_detr')


@HOOKS.register_module()
class ClassDistributionHook(Hook):
    """Counts the training set and hands the counts to losses, heads and metrics.

    Before training, the training set is counted once and every module and metric with a ``set_class_distribution``
    method gets the result; a model without such a module gets a buffer of its own, so that every checkpoint carries
    the prior it was trained under. Before a test or a validation without training, the distribution comes out of the
    checkpoint.

    Training data with unknown labels (-1) are refused where a multi-label head has a loss that does not say
    ``accepts_unknown = True``, as losses of mmpretrain would learn the number -1.

    Args:
        class_counts: counts to use instead of the training set's, as :meth:`ltmm.ClassDistribution.build` takes them.
        max_table_rows: classes in the table that is logged at the start of training; 0 for none.

    Raises:
        ClassDistributionError: a module, or a head of a detector, has another number of classes than the training set.
        TypeError: a loss stands in a head it does not fit, or the dataset's labels cannot be read.
        ValueError: unknown labels for a multi-label loss that has no meaning for them; a metric of masks, and a model
            without.
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
        """Count the training set, where there is one, before weights are loaded."""
        model = unwrapped(runner.model)
        check_losses_fit(model)
        for metric in _metrics(runner):
            if hasattr(metric, 'check_model'):
                metric.check_model(model)
        if not any(isinstance(module, ClassDistributionBuffer) for module in model.modules()):
            model.add_module('class_distribution', ClassDistributionBuffer())
        if not isinstance(runner._train_loop, BaseLoop):  # a test: the checkpoint brings the distribution
            return
        self.distribution = self._of_training_data(runner)
        _refuse_other_num_classes(model, len(self.distribution))
        _refuse_unknown_labels(model, runner.train_dataloader.dataset)
        self._hand_out(runner)
        if self.max_table_rows:
            runner.logger.info(f'Training data: {self.distribution.table(self.max_table_rows)}')

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the class names of its training data: a test set with another order is refused by them."""
        self._loaded_names = ((checkpoint.get('meta') or {}).get('dataset_meta') or {}).get('classes')

    def before_train(self, runner: Runner) -> None:
        """The training data have the last word over a checkpoint that was loaded or resumed."""
        loaded = ClassDistribution.from_state_dict(unwrapped(runner.model).state_dict())
        if runner._resume and loaded is not None and loaded != self.distribution:
            runner.logger.warning(
                f'The training data differ from those of the resumed checkpoint: now {self.distribution.summary()}; '
                f'then {loaded.summary()}. The run goes on with the present ones.'
            )
        self._hand_out(runner)

    def before_val(self, runner: Runner) -> None:
        """Without training: hand out what the checkpoint carries."""
        self._hand_out_from_checkpoint(runner)

    def before_test(self, runner: Runner) -> None:
        """Hand out what the checkpoint carries."""
        self._hand_out_from_checkpoint(runner)

    def _of_training_data(self, runner: Runner) -> ClassDistribution:
        dataset = runner.train_dataloader.dataset
        if self.class_counts is None:
            return class_distribution_of(dataset)
        return ClassDistribution.build(self.class_counts, getattr(dataset, 'metainfo', {}).get('classes'))

    def _hand_out_from_checkpoint(self, runner: Runner) -> None:
        if self.distribution is None:
            self.distribution = ClassDistribution.from_state_dict(unwrapped(runner.model).state_dict())
            if self.distribution is not None:
                names = self._loaded_names
                if names is not None and len(names) == len(self.distribution):
                    self.distribution = replace(self.distribution, class_names=tuple(names))
                self._hand_out(runner)

    def _hand_out(self, runner: Runner) -> None:
        """Give the distribution to all who take one."""
        for module in unwrapped(runner.model).modules():
            if hasattr(module, 'set_class_distribution'):
                module.set_class_distribution(self.distribution)
        top = getattr(unwrapped(runner.model), 'class_distribution', None)
        if isinstance(top, ClassDistributionBuffer) and not top.pinned:
            top.set(self.distribution)
        for metric in _metrics(runner):
            if hasattr(metric, 'set_class_distribution'):
                metric.set_class_distribution(self.distribution)


def _metrics(runner: Runner) -> list[BaseMetric]:
    """All metrics of validation and test."""
    loops = (loop for loop in (runner._val_loop, runner._test_loop) if isinstance(loop, BaseLoop))
    return [metric for loop in loops for metric in loop.evaluator.metrics]


def _refuse_other_num_classes(model: nn.Module, num_classes: int) -> None:
    """Refuse a detector's head of other classes than the training data; class-agnostic proposals are not meant."""
    for name, head in model.named_modules():
        got = getattr(head, 'num_classes', num_classes)
        if head_kind(head) in DETECTION_HEADS and 'rpn_head' not in name and got != num_classes:
            raise ClassDistributionError(
                f'Expected `{name}.num_classes` to be {num_classes}, the number of classes in the training data, but '
                f'got {got} ({type(head).__name__}). Set it in the config, or name the classes by '
                'train_dataloader.dataset.metainfo=dict(classes=[...]).'
            )


def _refuse_unknown_labels(model: nn.Module, dataset: Any) -> None:
    """Refuse unknown labels in the training data of a multi-label head, if its loss has no meaning for them."""
    for name, head in model.named_modules():
        for place in PLACES if head_kind(head) == 'multi_label' else ():
            loss = getattr(head, place, None)
            culprit = _no_meaning_for_unknown(loss) if isinstance(loss, nn.Module) else None
            table = None if culprit is None else _known_table(dataset)
            if table is not None and table.has_unknown:
                raise ValueError(
                    f'{type(culprit).__name__} of {name or "the head"} ({type(head).__name__}) has no meaning for '
                    f'unknown labels, but {table.unknown.sum()} of {len(table)} training samples have some (-1 in '
                    f'`gt_score`). {UNKNOWN_REMEDIES}'
                )


def _no_meaning_for_unknown(loss: nn.Module) -> nn.Module | None:
    """The part of a loss that refuses unknown labels, or the loss where no part of it knows of them; else None."""
    parts = [part for part in loss.modules() if hasattr(part, 'accepts_unknown')]
    return next((part for part in parts if not part.accepts_unknown), None if parts else loss)


def _known_table(dataset: Any) -> LabelTable | None:
    """The labels, read once for all; None where they cannot be read, and the config gives the counts instead."""
    try:
        return LabelTable.from_dataset(dataset, unrepeated=True)
    except (TypeError, ValueError):
        return None
