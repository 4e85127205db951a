"""Fit and evaluate conformal sets; every image passes through the model once."""

from pathlib import Path

import torch
from mmengine.dist import is_main_process

from ltmm.evaluation.functional import SetCoverage, set_coverage
from ltmm.models.post_process import ConformalSets
from ltmm.registry import POST_PROCESSORS
from ltmm.visualization import plot_coverage

from .classifier_post_processor import ClassifierPostProcessor, shots_of
from .split_outputs import SplitOutputs

__all__ = ['ConformalPostProcessor']


@POST_PROCESSORS.register_module()
class ConformalPostProcessor(ClassifierPostProcessor):
    """A trained classifier and conformal sets for it, beside those of the plain softmax score.

    Also writes NAME_coverage.png. See :class:`PostProcessor`.
    """

    step: ConformalSets

    def _fit(self, train: SplitOutputs, val: SplitOutputs) -> None:
        super()._fit(train, val)
        self._plain = ConformalSets(self.step.alpha, 'softmax')
        self._plain.fit(None, val)

    @torch.no_grad()
    def evaluate(self) -> tuple[SetCoverage, SetCoverage]:
        """Coverage on the test set of the softmax score with one threshold, and of the correction."""
        (head,) = self.heads.values()
        out = self.test_outputs()
        self._coverages = tuple(
            set_coverage(step.sets(out.logits, head).numpy(), out.label.numpy()) for step in (self._plain, self.step)
        )
        return self._coverages

    def summary(self, before: SetCoverage, after: SetCoverage) -> str:
        shots = shots_of(self.cfg, self.distribution)
        rows = {name: c.figures(shots) for name, c in zip(self._names(), (before, after))}
        width = max(map(len, rows))
        header = f'{"":<{width}}' + ''.join(f'{name:>12}' for name in rows[self._names()[0]])
        lines = [
            f'{name:<{width}}'
            + ''.join(f'{v if key.startswith("size") else 100 * v:>12.2f}' for key, v in figures.items())
            for name, figures in rows.items()
        ]
        return '\n'.join([header, *lines, 'size: number of classes in a set, on average'])

    def write(self, folder: Path, name: str) -> list[Path]:
        files = super().write(folder, name)
        plot = folder / f'{name}_coverage.png'
        if is_main_process():
            shots = shots_of(self.cfg, self.distribution)
            plot_coverage(dict(zip(self._names(), self._coverages)), shots, self.step.alpha, plot)
        return [*files, plot]

    def _names(self) -> tuple[str, str]:
        share = f', class_share={self.step.class_share:g}' if self.step.class_share else ''
        return 'softmax score', f'{self.step.score} score{share}'
