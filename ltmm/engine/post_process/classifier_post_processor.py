"""Correct a trained classifier; every image passes through the model once."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from mmengine.config import Config
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution, Shots
from ltmm.engine.runner.model_outputs import ModelOutputs
from ltmm.evaluation.functional import (
    calibration_bins,
    class_scores,
    expected_calibration_error,
    shots_by_convention,
)
from ltmm.evaluation.reports.per_class_report import PerClassReport
from ltmm.models.post_process import PostProcess
from ltmm.models.post_process.search import OBJECTIVES, objective_value, uses_sigmoid
from ltmm.registry import POST_PROCESSORS
from ltmm.utils.checks import check

from .class_mix import check_class_mix
from .post_processor import PostProcessor
from .split_outputs import SplitOutputs, gathered_outputs, train_split, val_split

__all__ = ['ClassifierPostProcessor', 'Evaluation', 'shots_of']


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of a split: per class, mean negative log-likelihood, calibration error."""

    report: PerClassReport
    nll: float
    ece: float

    @classmethod
    def of(
        cls, logits: Tensor, label: Tensor, distribution: ClassDistribution, shots: Shots, use_sigmoid: bool
    ) -> 'Evaluation':
        """Compute the figures of logits (N, C) and labels (N,); scores are one sigmoid per class or a softmax."""
        confidence, pred = (logits.sigmoid() if use_sigmoid else logits.softmax(1)).max(1)
        scores = class_scores(pred.numpy(), label.numpy(), len(distribution))
        bins = calibration_bins(confidence.clamp(0, 1).numpy(), (pred == label).numpy(), num_bins=15)
        return cls(
            PerClassReport.from_scores(scores, distribution, shots),
            objective_value('nll', logits, label, use_sigmoid),
            expected_calibration_error(bins),
        )


@POST_PROCESSORS.register_module()
class ClassifierPostProcessor(PostProcessor):
    """A trained classifier with one label per image and a correction of it. See :class:`PostProcessor`."""

    @staticmethod
    def splits(
        step: PostProcess, model: nn.Module, cfg: Config, distribution: ClassDistribution | None
    ) -> tuple[SplitOutputs, SplitOutputs]:
        """Training and validation data for :meth:`ltmm.models.PostProcess.fit`."""
        val = val_split(model, cfg, distribution)
        if step.val_mix is not None and distribution is not None:
            check_class_mix(step, val.label, distribution, cfg)
        return train_split(model, cfg, distribution), val

    def train_split(self) -> SplitOutputs:
        return train_split(self.model, self.cfg, self.distribution)

    def val_split(self, split: str | None, num_images: int | None) -> SplitOutputs:
        check(objective=(self.step.objective, OBJECTIVES))
        val = val_split(self.model, self.cfg, self.distribution, split, num_images)
        if self.step.val_mix is not None:
            check_class_mix(self.step, val.label, self.distribution, self.cfg)
        return val

    def test_outputs(self) -> ModelOutputs:
        """Outputs for the test set."""
        self._log('Outputs for the test data:')
        return gathered_outputs(self.model, self.cfg, self.cfg.test_dataloader.dataset, self.distribution)

    @torch.no_grad()
    def evaluate(self) -> tuple[Evaluation, Evaluation]:
        (head,) = self.heads.values()
        out = self.test_outputs()
        corrected = self.step(out.logits, out.features, head)
        options = out.label, self.distribution, shots_of(self.cfg, self.distribution), uses_sigmoid(head)
        return Evaluation.of(out.logits, *options), Evaluation.of(corrected, *options)

    def summary(self, before: Evaluation, after: Evaluation) -> str:
        from ltmm.evaluation.reports import Run, comparison_table

        title = f'{type(self.step).__name__}({self.step.extra_repr()})'
        table = comparison_table([Run('before', before.report), Run(title, after.report)])
        return (
            f'{table}\nnegative log-likelihood {before.nll:.4f} -> {after.nll:.4f}, '
            f'calibration error {100 * before.ece:.2f} -> {100 * after.ece:.2f}'
        )


def shots_of(cfg: Config, distribution: ClassDistribution) -> Shots:
    """Many, medium and few as the config's LongTailMetric defines them."""
    evaluators = cfg.get('test_evaluator') or []
    for evaluator in [evaluators] if isinstance(evaluators, Mapping) else evaluators:
        if evaluator['type'] == 'ltmm.LongTailMetric':
            keys = ('thresholds', 'num_many', 'num_few')
            grouping = {key: evaluator[key] for key in keys if key in evaluator}
            return shots_by_convention(distribution, evaluator.get('convention', 'decoupling'), **grouping)
    return distribution.shots()
