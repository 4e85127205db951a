"""Correct a trained detector: search the strength on images it can be judged by, measure on the test set, write."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dist import get_rank
from mmengine.evaluator import Evaluator
from mmengine.structures import InstanceData
from mmengine.utils import ProgressBar
from torch import nn
from torch.utils.data import DataLoader

from ltmm.engine.runner.model_outputs import innermost, loader_as_tested
from ltmm.models.post_process.base import box_heads
from ltmm.registry import DATASETS

from .post_processor import PostProcessor
from .validation_data import validation_dataset

__all__ = ['DetectorPostProcessor']


class DetectorPostProcessor(PostProcessor):
    """A trained detector and a correction of its scores. Every image passes through the model once.

    Boxes are corrected and judged; masks come after the boxes and follow them.

    Args:
        *args: see :class:`PostProcessor`.
        **kwargs: see :class:`PostProcessor`.

    Raises:
        TypeError: a model without a head that the correction fits.
        ValueError: see :class:`PostProcessor`; or a metric that reads no ``ann_file``.
    """

    def _take_head(self) -> nn.Module:
        for head in box_heads(self.model, type(self.step).__name__):
            self.step.check(head)
        self.head_prefix = 'roi_head.bbox_head.' if hasattr(self.model, 'roi_head') else 'bbox_head.'
        return self.model.get_submodule(self.head_prefix.rstrip('.'))

    # ------------------------------------------------------------------ search

    def search(
        self,
        grid: Sequence[float] | None = None,
        val_split: str | None = None,
        val_images: int = 1000,
        objective: str | None = None,
    ) -> list[tuple[float, float]]:
        """Set the strength to the one with the best figure, and give every strength and what it was worth.

        Args:
            grid: first strength, last, how many; what the correction suggests when left out.
            val_split: ``'val'``, ``'holdout'`` (see :func:`validation_dataset`), or
                ``'train'``: images that the detector was trained on, as [0] of :class:`ltmm.models.NorCal` has it.
                The first that is possible when left out.
            val_images: how many training images, drawn at random.
            objective: figure of the metric, such as ``'bbox_AP'``; what the correction suggests when left out.
        """
        dataset, val_split = self._validation_dataset(val_split, val_images)
        first, last, num = grid or self.step.grid
        strengths = np.linspace(first, last, int(num)).round(9)
        objective = objective or self.step.objective
        self._log(f'Boxes of the validation data ({val_split}):')
        values = [_figure(figures, objective) for figures in self._figures(dataset, strengths)]
        best = float(strengths[int(np.argmax(values))])
        setattr(self.step, self.step.strength, best)
        curve = list(zip(strengths.tolist(), values))
        rows = '\n'.join(f'{strength:>10.4g}  {100 * value:.2f}' for strength, value in curve)
        self._log(f'{self.step.strength}, {objective} on the validation data, in percent:\n{rows}\nbest: {best:g}')
        if len(strengths) > 1 and best == strengths[-1]:
            self.runner.logger.warning(f'The best {self.step.strength} lies at the end of the grid: widen it.')
        return curve

    def _validation_dataset(self, split: str | None, num_images: int) -> tuple[ConfigDict, str]:
        if split != 'train':
            try:
                found = validation_dataset(self.cfg, split)
            except ValueError:
                if split is not None:
                    raise
            else:
                if found[1] == 'holdout':
                    self._check_held_out()
                return found
        if not self.cfg.get('train_dataloader'):
            raise ValueError('Expected data to search the strength on, but the config has no train_dataloader.')
        dataset = copy.deepcopy(innermost(self.cfg.train_dataloader.dataset)[0])
        dataset.test_mode = True
        num = len(DATASETS.build(dataset))
        if num > num_images:
            dataset.indices = sorted(np.random.default_rng(0).choice(num, num_images, replace=False).tolist())
        return dataset, 'train'

    # ------------------------------------------------------------------ measure

    def evaluate(self) -> tuple[dict[str, float], dict[str, float]]:
        """Figures of the test set, before the correction and after it."""
        self._log('Boxes of the test data:')
        before, after = self._figures(self.cfg.test_dataloader.dataset, [0.0, getattr(self.step, self.step.strength)])
        return before, after

    @torch.no_grad()
    def _figures(self, dataset: Mapping, strengths: Sequence[float]) -> list[dict[str, float]]:
        """Figures of a dataset with every strength; 0 is without the correction."""
        loader = loader_as_tested(self.cfg, dataset, round_up=True)
        evaluators = [self._evaluator(loader.dataset) for _ in strengths]
        chosen = getattr(self.step, self.step.strength)
        for batch, samples, again in self._batches(loader):
            for strength, evaluator in zip(strengths, evaluators):
                setattr(self.step, self.step.strength, float(strength))
                for sample, instances in zip(samples, again()):
                    sample.pred_instances = instances
                evaluator.process(data_samples=samples, data_batch=batch)
        setattr(self.step, self.step.strength, chosen)
        return [evaluator.evaluate(len(loader.dataset)) for evaluator in evaluators]

    def _batches(self, loader: DataLoader) -> Iterator[tuple[dict, list, Callable[[], list[InstanceData]]]]:
        """Each batch, what the model finds in it, without masks, and a function that corrects these boxes anew."""
        roi_head = getattr(self.model, 'roi_head', nn.Module())  # without one there is no mask to leave out either
        last, mask_head = box_heads(self.model, type(self.step).__name__)[-1], getattr(roi_head, 'mask_head', None)
        uncorrected = dict(last.loss_cls.__dict__)
        calls = []  # of `predict`, in this batch; none where the model proposed nothing

        def record(*args: Any, **kwargs: Any) -> list[InstanceData]:
            calls.append((args, kwargs))
            return predict(*args, **kwargs)

        self.model.eval()
        self.step.attach(last)
        predict = last.predict_by_feat
        last.predict_by_feat, roi_head.mask_head = record, None
        bar = ProgressBar(len(loader)) if get_rank() == 0 else None
        try:
            for batch in loader:
                calls.clear()
                samples = self.model.test_step(batch)
                found = [sample.pred_instances for sample in samples]
                yield batch, samples, lambda f=found: predict(*calls[0][0], **calls[0][1]) if calls else f
                if bar is not None:
                    bar.update()
        finally:
            del last.predict_by_feat
            last.loss_cls.__dict__, roi_head.mask_head = uncorrected, mask_head
        if bar is not None:
            print(flush=True)

    def _evaluator(self, dataset: Any) -> Evaluator:
        """The config's metric, of boxes alone, on another dataset's annotations."""
        evaluators = self.cfg.test_evaluator
        cfgs = [e for e in ([evaluators] if isinstance(evaluators, Mapping) else evaluators) if 'ann_file' in e]
        if not cfgs:
            raise ValueError('Expected test_evaluator to be a metric with an `ann_file`, such as ltmm.LVISMetric.')
        evaluator = Evaluator(dict(cfgs[0], ann_file=dataset.ann_file, metric='bbox'))
        for metric in evaluator.metrics:
            if hasattr(metric, 'set_class_distribution'):
                metric.set_class_distribution(self.distribution)
        evaluator.dataset_meta = dataset.metainfo
        return evaluator

    # ------------------------------------------------------------------ write

    def _fold(self, head: nn.Module) -> bool:
        heads = list(head) if isinstance(head, nn.ModuleList) else [head]
        return all(self.step.fold(each) for each in heads)

    def summary(self, before: Mapping[str, float], after: Mapping[str, float]) -> str:
        """A table of the figures before and after, in percent."""
        rows = (('before', before), (f'{type(self.step).__name__}({self.step.extra_repr()})', after))
        width = max(len(name) for name, _ in rows)
        lines = [f'{"":<{width}}' + ''.join(f'{name.rpartition("/")[2].removeprefix("bbox_"):>10}' for name in before)]
        lines += [
            f'{name:<{width}}' + ''.join(f'{100 * v:>10.2f}' if v >= 0 else f'{"-":>10}' for v in figures.values())
            for name, figures in rows
        ]
        return '\n'.join(lines)


def _figure(figures: Mapping[str, float], objective: str) -> float:
    """The figure of this name, whatever prefix the metric has."""
    for name, value in figures.items():
        if name.rpartition('/')[2] == objective:
            return float(value)
    names = [name.rpartition('/')[2] for name in figures]
    raise ValueError(f'Expected `objective` to be one of {names}, but got {objective!r}.')
