"""Correct a classifier of which only the logits are at hand, in files."""

from pathlib import Path
from typing import Any, NoReturn

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmpretrain.models.heads import ClsHead
from mmpretrain.structures import DataSample

from ltmm.class_distribution import ClassDistribution
from ltmm.engine.runner.model_outputs import ModelOutputs
from ltmm.models.post_process import PostProcess, read_labelled_logits
from ltmm.models.post_process.base import attach_correction
from ltmm.models.post_process.search import OBJECTIVES
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import POST_PROCESSORS
from ltmm.utils.checks import check
from ltmm.utils.class_counts import is_by_name, missing_names_error, read_counts
from ltmm.utils.errors import InputError, InputTypeError
from ltmm.utils.predictions import write_predictions

from .class_mix import compare_class_mix
from .classifier_post_processor import ClassifierPostProcessor
from .split_outputs import SplitOutputs

__all__ = ['LogitFiles', 'build_logit_files']


class LogitHead(ClsHead):
    """Head whose features are the logits."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes


class LogitSplit(SplitOutputs):
    """Logits and labels of a split, without features."""

    @property
    def features(self) -> NoReturn:
        """Raise."""
        raise InputTypeError(
            'This correction needs the features of the images, which files of logits lack: give the config and the '
            'checkpoint of the model instead.'
        )


class LogitFiles(ClassifierPostProcessor):
    """The logits of a trained classifier with a softmax, and a correction that needs no more than these.

    Writes the predictions for the test set, .npz. See :class:`PostProcessor`.

    Args:
        val: File of the validation data, see :func:`ltmm.models.post_process.read_labelled_logits`.
        test: File of the test data.
        step: Correction.
        class_counts: Training images per class, see :meth:`ltmm.ClassDistribution.build`.
    """

    def __init__(self, val: str | Path, test: str | Path, step: PostProcess, class_counts: Any) -> None:
        counts = read_counts(class_counts)
        if is_by_name(counts):
            raise missing_names_error('files of logits')
        self.cfg, self.model, self.step = Config(), None, step
        self.distribution = ClassDistribution.build(counts)
        if isinstance(step, UsesClassDistribution):
            step.set_class_distribution(self.distribution)
        head = LogitHead(len(self.distribution))
        try:
            step.check(head)
        except InputTypeError:
            raise InputTypeError(
                f'{type(step).__name__} needs the layers of the model, which files of logits lack: give the config and '
                'the checkpoint of the model instead.'
            ) from None
        self.heads = {'head': head}
        self._val, self._test = (self._read(path) for path in (val, test))

    def _read(self, path: str | Path) -> ModelOutputs:
        logits, label = read_labelled_logits(path)
        num_classes = len(self.distribution)
        if logits.size(1) != num_classes:
            raise InputError(
                f'Expected as many classes in {path} as in the class counts, but got {logits.size(1)} and '
                f'{num_classes}.'
            )
        if num_bad := int((~logits.isfinite()).sum()):
            raise InputError(f'Expected finite logits in {path}, but {num_bad} are not.')
        if label.min() < 0 or label.max() >= num_classes:
            raise InputError(
                f'Expected labels from 0 to {num_classes - 1} in {path}, but got {label.min()} to {label.max()}.'
            )
        return ModelOutputs(logits[:, :0], logits, label)

    def train_split(self) -> LogitSplit:
        return self._split()  # holds no training data: a correction that reads their features is told so

    def val_split(self, split: str | None, num_images: int | None) -> LogitSplit:
        check(objective=(self.step.objective, OBJECTIVES))
        if self.step.val_mix is not None:
            test = ClassDistribution.from_labels(self._test.label.numpy(), len(self.distribution)).prior
            compare_class_mix(self.step, self._val.label, self.distribution, test)
        return self._split()

    def _split(self) -> LogitSplit:
        return LogitSplit(lambda with_logits: self._val, self.heads['head'])

    def test_outputs(self) -> ModelOutputs:
        return self._test

    @torch.no_grad()
    def write(self, folder: Path, name: str) -> list[Path]:
        """Write the predictions, as ``tools/test.py --out predictions.npz`` does."""
        path = folder / f'{name}.npz'
        if is_main_process():
            head = attach_correction(LogitHead(len(self.distribution)), self.step).eval()
            samples = [DataSample().set_gt_label(label) for label in self._test.label]
            predictions = head.predict((self._test.logits,), samples)
            write_predictions([sample.to_dict() for sample in predictions], path)
        return [path]


def build_logit_files(val: str | Path, test: str | Path, step: PostProcess, class_counts: Any) -> LogitFiles:
    """Build the post-processor of a correction of logits in files; the arguments are those of :class:`LogitFiles`."""
    processor = POST_PROCESSORS.get(step.processor)
    if not issubclass(processor, ClassifierPostProcessor):
        raise InputTypeError(f'{type(step).__name__} is for detectors: files of logits are those of classifiers.')
    bases = (LogitFiles,) if processor is ClassifierPostProcessor else (processor, LogitFiles)
    return type('LogitFiles', bases, {})(val, test, step, class_counts)
