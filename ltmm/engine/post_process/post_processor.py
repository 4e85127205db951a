"""Correct a trained classifier: search the strength on validation data, measure on the test set, write the result."""

import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import all_gather_object, is_main_process
from mmengine.registry import init_default_scope
from mmpretrain.models.heads import MultiLabelClsHead
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution, Shots
from ltmm.datasets.labels import class_distribution_of
from ltmm.engine.hooks.checkpoint_compatibility_hook import refuse_missing_parameters
from ltmm.engine.runner.model_outputs import ModelOutputs, idle_runner, loader_as_tested, model_outputs
from ltmm.evaluation.functional import (
    calibration_bins,
    class_scores,
    expected_calibration_error,
    shots_by_convention,
)
from ltmm.evaluation.reports.per_class_report import PerClassReport
from ltmm.models.post_process import NearestClassMean, PostProcess
from ltmm.models.post_process.search import objective_value, search_strength
from ltmm.models.state.class_distribution import ClassDistributionBuffer
from ltmm.registry import MODELS
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.launch import check_checkpoint
from ltmm.utils.wrappers import unwrap_model

from .validation_data import validation_dataset

__all__ = ['Evaluation', 'PostProcessor', 'post_process']


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What logits are worth on a split: figures of each class, mean negative log-likelihood, calibration error."""

    report: PerClassReport
    nll: float
    ece: float

    @classmethod
    def of(
        cls,
        cls_score: Tensor,
        label: Tensor,
        distribution: ClassDistribution,
        shots: Shots,
        use_sigmoid: bool = False,
    ) -> 'Evaluation':
        """From logits (N, C) and labels (N,); probabilities are one sigmoid a class, or their softmax."""
        confidence, pred = (cls_score.sigmoid() if use_sigmoid else cls_score.softmax(1)).max(1)
        scores = class_scores(pred.numpy(), label.numpy(), len(distribution))
        bins = calibration_bins(confidence.clamp(0, 1).numpy(), (pred == label).numpy(), num_bins=15)
        return cls(
            PerClassReport.from_scores(scores, distribution, shots),
            objective_value('nll', cls_score, label, use_sigmoid),
            expected_calibration_error(bins),
        )


class PostProcessor:
    """A trained model and a correction of it. Nothing is trained; every image passes through the model once.

    Args:
        cfg: config of the trained model.
        checkpoint: its checkpoint.
        step: config of the correction, such as ``dict(type='ltmm.TauNorm')``.
        class_counts: training images per class for a checkpoint that carries none, as
            :meth:`ltmm.ClassDistribution.build` takes them.

    Raises:
        FileNotFoundError: no such checkpoint.
        RuntimeError: the checkpoint carries no class distribution and ``class_counts`` is not given.
        TypeError: the correction does not fit the head.
        ValueError: the config has a PostProcessHook already, the checkpoint is of another model, or class means are
            asked for and the config has no ``train_dataloader``.
    """

    head_prefix = 'head.'

    def __init__(self, cfg: Config, checkpoint: str, step: Mapping[str, Any], class_counts: Any = None) -> None:
        if any(hook['type'] == 'ltmm.PostProcessHook' for hook in cfg.get('custom_hooks') or []):
            raise ValueError('Expected a config without a PostProcessHook, but its corrections would come first.')
        init_default_scope(cfg.get('default_scope', 'mmpretrain'))
        check_checkpoint(checkpoint)
        self.cfg, self.checkpoint, self._class_counts = cfg, checkpoint, class_counts
        self.step: PostProcess = MODELS.build(dict(step))
        self.runner = idle_runner(cfg)
        self.model = unwrap_model(self.runner.model)
        head = self._take_head()
        self._meta = self.runner.load_checkpoint(checkpoint).get('meta', {})
        refuse_missing_parameters(self.runner, replaced=['head.'] if self.step.needs_class_means else [])
        self.distribution = self._find_distribution()
        self.head = copy.deepcopy(head).cpu()
        if hasattr(self.step, 'set_class_distribution'):
            self.step.set_class_distribution(self.distribution)
        if self.step.needs_class_means:
            self._fit_class_means()

    def _take_head(self) -> nn.Module:
        """The head to correct, checked."""
        head = getattr(self.model, 'head', None)
        if head is None:
            raise TypeError(f'{type(self.step).__name__} corrects classifiers, but got {type(self.model).__name__}.')
        if isinstance(head, MultiLabelClsHead):
            raise TypeError(
                f'{type(self.step).__name__} corrects classifiers with one label an image, but got '
                f'{type(head).__name__}, with several.'
            )
        self.step.check(head)
        return head

    def _fit_class_means(self) -> None:
        if not self.cfg.get('train_dataloader'):
            raise ValueError('The class means are taken from train_dataloader, which the config lacks.')
        self._log('Features of the training data, for the class means:')
        loader = loader_as_tested(self.cfg, self.cfg.train_dataloader.dataset)
        train = ModelOutputs.join(model_outputs(self.model, loader, with_scores=False))
        self.step.fit(train.features, train.label, len(self.distribution))

    def _find_distribution(self) -> ClassDistribution:
        if self._class_counts is not None:
            distribution = ClassDistribution.build(self._class_counts)
            for module in self.model.modules():  # what is written carries it
                if isinstance(module, ClassDistributionBuffer):
                    module.set(distribution)
            return distribution
        distribution = ClassDistribution.from_state_dict(self.model.state_dict())
        if distribution is None:
            raise RuntimeError(
                f'{self.checkpoint} carries no class distribution, which {type(self.step).__name__} or the figures of '
                'many-, medium- and few-shot classes need. Give the counts of its training data as class_counts '
                '(--class-counts counts.json; python tools/analysis_tools/class_distribution.py CONFIG --json '
                'counts.json writes them).'
            )
        return distribution

    # ------------------------------------------------------------------ search

    def search(
        self,
        grid: Sequence[float] | None = None,
        val_split: str | None = None,
        val_images: int = 20,
        objective: str | None = None,
    ) -> list[tuple[float, float]]:
        """Set the strength to the one that does best on validation data, never on the test set.

        Args:
            grid: first strength, last, how many; what the correction suggests when left out.
            val_split: see :func:`validation_dataset`.
            val_images: see :func:`validation_dataset`.
            objective: see :func:`ltmm.models.post_process.search.objective_value`; what the correction suggests when
                left out.

        Returns:
            Every strength and what it was worth.

        Raises:
            ValueError: no validation data, or a checkpoint that was trained on them.
        """
        dataset, val_split = validation_dataset(self.cfg, val_split, val_images)
        if val_split == 'holdout':
            self._check_held_out()
        first, last, num = grid or self.step.grid
        strengths = np.linspace(first, last, int(num)).round(9)  # 1.2, not 1.2000000000000002
        self._log(f'Features and logits of the validation data ({val_split}):')
        out = self._outputs(dataset)
        num_missing = int((np.bincount(out.label, minlength=len(self.distribution)) == 0).sum())
        self._log(
            f'{len(out.label)} validation images'
            + (f'; {num_missing} classes have none and do not count' if num_missing else '')
        )
        objective = objective or self.step.objective
        values = search_strength(self.step, out.cls_score, out.features, out.label, self.head, strengths, objective)
        curve = list(zip(strengths.tolist(), values.tolist()))
        rows = '\n'.join(f'{strength:>10.4g}  {value:.3f}' for strength, value in curve)
        best = getattr(self.step, self.step.strength)
        self._log(f'{self.step.strength}, {objective} on the validation data:\n{rows}\nbest: {best:g}')
        if len(strengths) > 1 and best in (strengths[0], strengths[-1]):
            self.runner.logger.warning(f'The best {self.step.strength} lies at the end of the grid: widen it.')
        return curve

    def _check_held_out(self) -> None:
        """Refuse images that may have been trained on, as far as the counts tell."""
        train = class_distribution_of(self.cfg.train_dataloader.dataset)
        if train.instance_counts.tolist() != self.distribution.instance_counts.tolist():
            raise ValueError(
                f"Expected a checkpoint trained on the {train.instance_counts.sum()} images of the config's training "
                f'part, but it was trained on {self.distribution.instance_counts.sum()}: images that are held out now '
                'may have been among them.'
            )

    # ------------------------------------------------------------------ measure

    @torch.no_grad()
    def evaluate(self) -> tuple[Evaluation, Evaluation]:
        """What the model is worth on the test set, before the correction and after it."""
        self._log('Features and logits of the test data:')
        out = self._outputs(self.cfg.test_dataloader.dataset)
        corrected = self.step(out.cls_score, out.features, self.head)
        shots = _shots(self.cfg, self.distribution)
        use_sigmoid = getattr(self.head, 'use_sigmoid', False)
        return (
            Evaluation.of(out.cls_score, out.label, self.distribution, shots, use_sigmoid),
            Evaluation.of(corrected, out.label, self.distribution, shots, use_sigmoid),
        )

    def _outputs(self, dataset: Mapping) -> ModelOutputs:
        """Of all samples, in order, on every process."""
        loader = loader_as_tested(self.cfg, dataset)
        parts = all_gather_object(ModelOutputs.join(model_outputs(self.model, loader)))
        return ModelOutputs.interleave(parts)

    # ------------------------------------------------------------------ write

    def write(self, folder: Path, name: str) -> list[Path]:
        """Write the corrected model.

        A correction that a linear layer can take up gives a checkpoint for the same config. Nearest class means give a
        checkpoint and the config that goes with it. What cannot be built in gives a config that corrects the logits of
        the old checkpoint.

        Args:
            folder: where to write.
            name: of the files, without suffix.
        """
        checkpoint, config = folder / f'{name}.pth', folder / f'{name}.py'
        if isinstance(self.step, NearestClassMean) and _is_plain(self.head, self.step.layer.in_features):
            cfg = self._copy_of_config(load_from=str(checkpoint))
            cfg.model.head = _nearest_mean_head(self.head, self.step)
            head = MODELS.build(cfg.model.head)
            head.fc = self.step.layer
            head.set_class_distribution(self.distribution)
            files = {checkpoint: self._checkpoint(head), config: cfg.pretty_text.encode()}
        elif self._fold(head := copy.deepcopy(self.head)):
            files = {checkpoint: self._checkpoint(head)}
        else:
            cfg = self._copy_of_config(load_from=str(Path(self.checkpoint).absolute()))
            step = dict(type=f'ltmm.{type(self.step).__name__}', **self.step.settings())
            if self._class_counts is not None and hasattr(self.step, 'set_class_distribution'):
                one_each = (self.distribution.instance_counts == self.distribution.image_counts).all()
                counts = self.distribution.instance_counts.tolist() if one_each else self.distribution.to_dict()
                step['class_counts'] = counts
            cfg.custom_hooks = [*(cfg.get('custom_hooks') or []), dict(type='ltmm.PostProcessHook', steps=[step])]
            files = {config: cfg.pretty_text.encode()}
        if is_main_process():
            for path, content in files.items():
                AtomicLocalBackend().put(content, path)
        return list(files)

    def _fold(self, head: nn.Module) -> bool:
        """Build the correction into ``head``, and say whether that could be done."""
        return self.step.fold(head)

    def _copy_of_config(self, load_from: str) -> Config:
        cfg = copy.deepcopy(self.cfg)
        for key in ('stages', 'post_process'):
            cfg.pop(key, None)
        cfg.load_from, cfg.resume = load_from, False
        return cfg

    def _checkpoint(self, head: nn.Module) -> bytes:
        """The file of the whole model with another head."""
        prefix = self.head_prefix
        new = {prefix + name: value for name, value in head.state_dict().items()}
        replaced = (prefix, 'class_distribution.') if hasattr(head, 'class_distribution') else (prefix,)
        state = {name: value.cpu() for name, value in self.model.state_dict().items() if not name.startswith(replaced)}
        step = dict(type=type(self.step).__name__, **self.step.settings())
        meta = dict(dataset_meta=self._meta.get('dataset_meta'), post_process=step, source=str(self.checkpoint))
        file = io.BytesIO()
        torch.save(dict(meta=meta, state_dict=state | new), file)
        return file.getvalue()

    def summary(self, before: Evaluation, after: Evaluation) -> str:
        """A table of the figures before and after, in percent."""
        from ltmm.evaluation.reports import Run, comparison_table

        title = f'{type(self.step).__name__}({self.step.extra_repr()})'
        table = comparison_table([Run('before', before.report), Run(title, after.report)])
        return (
            f'{table}\nnegative log-likelihood {before.nll:.4f} -> {after.nll:.4f}, '
            f'calibration error {100 * before.ece:.2f} -> {100 * after.ece:.2f}'
        )

    def _log(self, text: str) -> None:
        self.runner.logger.info(text)


def post_process(
    cfg: Config,
    checkpoint: str,
    step: Mapping[str, Any],
    folder: Path,
    name: str,
    search: Mapping[str, Any] | None = None,
    class_counts: Any = None,
) -> list[Path]:
    """Search where asked for, log many, medium and few of the test set before and after, and write the result.

    Args:
        cfg: see :class:`PostProcessor`.
        checkpoint: see :class:`PostProcessor`.
        step: see :class:`PostProcessor`.
        folder: where to write.
        name: of the files, without suffix.
        search: arguments of :meth:`PostProcessor.search`; None takes the strength as it is in ``step``.
        class_counts: see :class:`PostProcessor`.

    Returns:
        The files that were written.
    """
    if 'roi' in MODELS.get(step['type']).fits:
        from .detector_post_processor import DetectorPostProcessor as Processor
    else:
        Processor = PostProcessor
    processor = Processor(cfg, checkpoint, step, class_counts)
    if search is not None:
        processor.search(**search)
    before, after = processor.evaluate()
    files = processor.write(folder, name)
    processor.runner.logger.info(
        f'Test set, in percent:\n{processor.summary(before, after)}\nWrote {", ".join(map(str, files))}'
    )
    return files


def _shots(cfg: Config, distribution: ClassDistribution) -> Shots:
    """Many, medium and few as the config's LongTailMetric has them."""
    evaluators = cfg.get('test_evaluator') or []
    for evaluator in [evaluators] if isinstance(evaluators, Mapping) else evaluators:
        if evaluator['type'] == 'ltmm.LongTailMetric':
            keys = ('thresholds', 'num_many', 'num_few')
            grouping = {key: evaluator[key] for key in keys if key in evaluator}
            return shots_by_convention(distribution, evaluator.get('convention', 'decoupling'), **grouping)
    return distribution.shots()


def _is_plain(head: nn.Module, width: int) -> bool:
    """Whether the classifier layer of a head sees what the neck gives."""
    features = torch.zeros(1, width)
    try:
        return head.pre_logits((features,)) is features
    except (AttributeError, IndexError, TypeError, ValueError):  # a head that expects tokens, or several stages
        return False


def _nearest_mean_head(head: nn.Module, step: NearestClassMean) -> ConfigDict:
    classifier = dict(type='ltmm.NearestMean', **step.settings())
    width = step.layer.in_features
    return ConfigDict(
        type='ltmm.LongTailClsHead', num_classes=head.num_classes, in_channels=width, classifier=classifier
    )
