"""Join a fine-tuned checkpoint and the logits of a zero-shot model."""

from pathlib import Path

import torch
from mmengine.dist import is_main_process

from ltmm.evaluation.reports.run_comparison import Run, comparison_table
from ltmm.models.post_process import GeneralizedLogitAdjustment, read_logits
from ltmm.registry import POST_PROCESSORS
from ltmm.utils.errors import InputError
from ltmm.utils.predictions import write_predictions

from .balanced_models import balancing_parts
from .classifier_post_processor import ClassifierPostProcessor, Evaluation, shots_of
from .split_outputs import SplitOutputs

__all__ = ['GLAPostProcessor']


@POST_PROCESSORS.register_module()
class GLAPostProcessor(ClassifierPostProcessor):
    """A trained classifier and the logits of a zero-shot model. Writes the predictions for the test set, .npz.

    See :class:`PostProcessor` and :class:`ltmm.models.GeneralizedLogitAdjustment`.
    """

    step: GeneralizedLogitAdjustment

    def _fit(self, train: SplitOutputs, val: SplitOutputs) -> None:
        if self.step.subtracts_prior is None:
            balancing = balancing_parts(self.heads.values(), self.cfg)
            self.step.subtracts_prior = not balancing
            if balancing:
                self._log(f'{balancing[0]} has balanced the classes in training: the log prior is not subtracted.')
        for path in self.step.zero_shot.values():  # before any image passes through the model
            if not Path(path).is_file():
                raise InputError(f'{path} is no readable .npy or .npz file of logits (there is no such file).')
        super()._fit(train, val)

    @torch.no_grad()
    def evaluate(self) -> tuple[Evaluation, Evaluation, Evaluation]:
        """Figures of the test set for the fine-tuned model, the zero-shot model, and both."""
        out = self.test_outputs()
        zero_shot = read_logits(self.step.zero_shot['test'], out.label, out.logits.size(1))
        joined = self.step.combine(out.logits, zero_shot)
        self._predictions = joined.softmax(1).float(), out.label
        options = out.label, self.distribution, shots_of(self.cfg, self.distribution), False
        return tuple(Evaluation.of(logits, *options) for logits in (out.logits, zero_shot, joined))

    def summary(self, *evaluations: Evaluation) -> str:
        step = self.step
        names = ('fine-tuned', 'zero-shot', 'GLA')
        table = comparison_table([Run(name, each.report) for name, each in zip(names, evaluations)])
        prior = step.zero_shot_prior.sort(descending=True)
        classes = self.distribution.class_names or range(len(prior.values))
        top = ', '.join(
            f'{classes[i]} {100 * p:.2g}' for p, i in zip(prior.values[:5].tolist(), prior.indices.tolist())
        )
        figures = '; '.join(f'{n}: {e.nll:.4f}, {100 * e.ece:.2f}' for n, e in zip(names, evaluations))
        return (
            f'{table}\nnegative log-likelihood, calibration error: {figures}\n'
            f'temperatures: fine-tuned {step.temperature:.3f}, zero-shot {step.zero_shot_temperature:.3f}; '
            f'most frequent classes by the zero-shot model, in percent: {top}'
        )

    def write(self, folder: Path, name: str) -> list[Path]:
        """Write the predictions, as ``tools/test.py --out predictions.npz`` does."""
        path = folder / f'{name}.npz'
        if is_main_process():
            rows = zip(*self._predictions)
            write_predictions([dict(pred_score=score, gt_label=label[None]) for score, label in rows], path)
        return [path]
