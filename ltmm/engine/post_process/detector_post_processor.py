"""Correct a trained detector; every image passes through the model once."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from mmdet.models.detectors import TwoStageDetector
from mmengine.config import Config
from mmengine.dist import get_rank, get_world_size
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmengine.utils import ProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.images import base_datasets
from ltmm.datasets.labels.box_centers import box_centers
from ltmm.engine.runner.model_outputs import build_test_loader
from ltmm.evaluation.metrics.lvis_metric import LVISMetric
from ltmm.models.post_process import PostProcess
from ltmm.models.post_process.base import add_mixin
from ltmm.registry import METRICS, POST_PROCESSORS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .post_processor import PostProcessor
from .split_outputs import check_held_out
from .validation_data import trained_dataset, validation_dataset

__all__ = ['DetectionSplit', 'DetectionTrainSplit', 'DetectorPostProcessor']

NUM_TRAIN_IMAGES = 1000  # of a search on training images, as in NorCal's paper


class RecordingHead:
    """Mixin for the last head of a detector: keeps the arguments of its prediction, to predict again from them."""

    calls: list[tuple[tuple, dict]]

    def predict_by_feat(self, *args: Any, **kwargs: Any) -> list[InstanceData]:
        self.calls.append((args, kwargs))
        return super().predict_by_feat(*args, **kwargs)

    def predict_again(self) -> list[InstanceData]:
        args, kwargs = self.calls[0]
        return super().predict_by_feat(*args, **kwargs)


class DetectionSplit:
    """Detections of a split, for :meth:`ltmm.models.PostProcess.fit`.

    Args:
        processor: Post-processor of the detector.
        find_dataset: Returns the config of the dataset.
    """

    def __init__(self, processor: 'DetectorPostProcessor', find_dataset: Callable[[], Mapping]) -> None:
        self.processor, self._find_dataset = processor, find_dataset

    @cached_property
    def loader(self) -> DataLoader:
        return build_test_loader(self.processor.cfg, self._find_dataset(), True, self.processor.distribution)

    def evaluate(self, step: PostProcess, strengths: Sequence[float]) -> list[float]:
        """Objective of a correction for each strength, in percent; the correction is left at the last one.

        It is a figure of :class:`ltmm.LVISMetric`, whatever the config tests by: mmdet.CocoMetric would count the
        objects in images that are not in this split as missed.
        """
        metric = self._search_metric()
        check(objective=(step.objective, metric.figure_names))
        found = self._figures(step, [{step.strength: float(strength)} for strength in strengths], [metric])
        return [100 * _figure(each, step.objective) for each in found]

    def figures(self, step: PostProcess, variants: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
        """Figures of the config's metrics for each variant of the correction, from one pass over the images.

        Args:
            step: Correction.
            variants: Attributes of ``step`` to set, such as ``dict(gamma=0.6)``.
        """
        return self._figures(step, variants, [self._prepared(cfg) for cfg in self._metric_cfgs()])

    @torch.no_grad()
    def _figures(
        self, step: PostProcess, variants: Sequence[Mapping[str, Any]], metrics: Sequence[BaseMetric]
    ) -> list[dict[str, float]]:
        evaluators = []
        for _ in variants:
            own = [copy.copy(metric) for metric in metrics]  # all read the same annotations
            for metric in own:
                metric.results = []
            evaluators.append(Evaluator(own))
        for batch, samples, predict in self._batches():
            for variant, evaluator in zip(variants, evaluators):
                for name, value in variant.items():
                    setattr(step, name, value)
                for sample, instances in zip(samples, predict()):
                    sample.pred_instances = instances
                evaluator.process(data_samples=samples, data_batch=batch)
        return [evaluator.evaluate(len(self.loader.dataset)) for evaluator in evaluators]

    def _batches(self) -> Iterator[tuple[dict, list, Callable[[], list[InstanceData]]]]:
        """Each batch, its samples, and a function that predicts their boxes with the current strength."""
        model, head = self.processor.model.eval(), self.processor.last_head
        bar = ProgressBar(len(self.loader)) if get_rank() == 0 else None
        for batch in self.loader:
            head.calls.clear()
            samples = model.test_step(batch)
            found = [sample.pred_instances for sample in samples]
            yield batch, samples, head.predict_again if head.calls else lambda found=found: found
            if bar is not None:
                bar.update()
        if bar is not None:
            print(flush=True)

    def _metric_cfgs(self) -> list[Mapping]:
        evaluators = self.processor.cfg.test_evaluator
        cfgs = [e for e in ([evaluators] if isinstance(evaluators, Mapping) else evaluators) if 'ann_file' in e]
        if not cfgs:
            raise InputError(
                'Expected test_evaluator to be a metric with an `ann_file`, such as ltmm.LVISMetric or '
                'mmdet.CocoMetric. With another, correct the detector by ltmm.PostProcessHook in custom_hooks.'
            )
        return cfgs

    def _search_metric(self) -> LVISMetric:
        """LVISMetric on the annotations of this split, with the options of the config's, if there is one."""
        cfgs = self._metric_cfgs()
        with METRICS.switch_scope_and_registry(None) as registry:
            own = [cfg for cfg in cfgs if registry.get(cfg['type']) is LVISMetric]
        cfg = own[0] if own else dict(type='ltmm.LVISMetric', backend_args=cfgs[0].get('backend_args'))
        ann_file = next(base_datasets(self.loader.dataset)).ann_file
        return self._prepared(dict(cfg, ann_file=ann_file, csv_name=None))

    def _prepared(self, cfg: Mapping) -> BaseMetric:
        """Build a metric of boxes that writes no detections, and set what it needs to know of the data."""
        metric = METRICS.build(dict(cfg, metric='bbox', outfile_prefix=None))
        if hasattr(metric, 'set_class_distribution'):
            metric.set_class_distribution(self.processor.distribution)
        metric.dataset_meta = self.loader.dataset.metainfo
        return metric


class DetectionTrainSplit:
    """Training data of a detector, for :meth:`ltmm.models.PostProcess.fit`.

    Args:
        model: Detector.
        cfg: Its config.
        heads: Heads to correct, in the order of the stages.
    """

    def __init__(self, model: nn.Module, cfg: Config, heads: Sequence[nn.Module]) -> None:
        self.model, self.heads = model, heads
        self._loader = cfg.get('train_dataloader')

    @property
    def loader(self) -> Mapping:
        """Config of the loader."""
        if not self._loader:
            raise InputError('The correction is fitted on train_dataloader, which the config lacks.')
        return self._loader

    def box_centers(self) -> tuple[np.ndarray, np.ndarray]:
        """Centers, (M, 2), and labels, (M,), of all boxes, see :func:`ltmm.datasets.labels.box_centers`."""
        return box_centers(self.loader.dataset)

    @torch.no_grad()
    def visit_proposals(self, visit: Callable[[int, nn.Module, Tensor], None], num_images: int | None = None) -> None:
        """Pass the logits of the proposals that each head would train on, without training and without its loss.

        Args:
            visit: Called with the stage, its head and the logits (N, width) for every batch.
            num_images: Images of all ranks together; default: one epoch.
        """
        if not isinstance(self.model, TwoStageDetector) or not self.model.roi_head.train_cfg:
            raise InputError(
                'Expected a two-stage detector with `train_cfg`, which samples the proposals that heads train on, but '
                f'got {type(self.model).__name__} without.'
            )
        loader = Runner.build_dataloader(copy.deepcopy(self.loader))
        num = len(loader.batch_sampler.sampler)  # of this rank
        if num_images is not None:
            num = min(num, -(-num_images // get_world_size()))
        print_log(f'Logits of the proposals in {num * get_world_size()} training images:', 'current')
        bar = ProgressBar(-(-num // loader.batch_sampler.batch_size)) if get_rank() == 0 else None
        was_training = self.model.training
        self.model.eval()
        for stage, head in enumerate(self.heads):
            head.loss = partial(_visit_logits, partial(visit, stage, head))  # a loss may count what it has seen
        try:
            for batch in loader:  # an endless sampler is cut
                batch = self.model.data_preprocessor(batch, training=True)
                self.model(**batch, mode='loss')
                if bar is not None:
                    bar.update()
                num -= len(batch['data_samples'])
                if num <= 0:
                    break
        finally:
            for head in self.heads:
                del head.loss
            self.model.train(was_training)
        if bar is not None:
            print(flush=True)


def _visit_logits(visit: Callable[[Tensor], None], cls_score: Tensor, *args: Any, **kwargs: Any) -> dict:
    """Take the place of the loss of a box head."""
    visit(cls_score)
    return {}


@POST_PROCESSORS.register_module()
class DetectorPostProcessor(PostProcessor):
    """A trained detector and a correction of its scores. See :class:`PostProcessor`.

    Only boxes are predicted and evaluated; masks follow the boxes.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        heads = list(self.step.heads(self.model).values())
        self.last_head = heads[-1]
        for head in self.step.corrected(heads):
            self.step.attach(head)
        add_mixin(self.last_head, RecordingHead, calls=[])
        if isinstance(self.model, TwoStageDetector):
            self.model.roi_head.mask_head = None

    @staticmethod
    def splits(
        step: PostProcess, model: nn.Module, cfg: Config, distribution: ClassDistribution | None
    ) -> tuple[DetectionTrainSplit, None]:
        """Training data, and no validation data: a search takes a :class:`DetectorPostProcessor`."""
        return DetectionTrainSplit(model, cfg, list(step.heads(model).values())), None

    def train_split(self) -> DetectionTrainSplit:
        return self.splits(self.step, self.model, self.cfg, self.distribution)[0]

    def val_split(self, split: str | None, num_images: int | None) -> DetectionSplit:
        """Validation split.

        Args:
            split: ``'val'``, ``'holdout'`` (see :func:`validation_dataset`), or ``'train'``: images that the detector
                was trained on, as in [0] of :class:`ltmm.models.NorCal`. Default: the first that is possible.
            num_images: Number of images, drawn at random. Default: all, and 1000 for ``'train'``.
        """
        return DetectionSplit(self, lambda: self._validation_dataset(split, num_images))

    def _validation_dataset(self, split: str | None, num_images: int | None) -> Mapping:
        if split != 'train':
            try:
                dataset, found = validation_dataset(self.cfg, split)
            except InputError:
                if split is not None:
                    raise
            else:
                if found == 'holdout':
                    check_held_out(self.cfg, self.distribution)
                return dataset if num_images is None else _random_subset(dataset, num_images)
        print_log('The validation split is a part of the training data.', 'current')
        return _random_subset(trained_dataset(self.cfg), num_images or NUM_TRAIN_IMAGES)

    def evaluate(self) -> tuple[dict[str, float], dict[str, float]]:
        settings = self.model.roi_head.test_cfg if isinstance(self.model, TwoStageDetector) else self.model.test_cfg
        self._log(f'Boxes of the test data, before and after with {dict(settings)}:')
        split = DetectionSplit(self, lambda: self.cfg.test_dataloader.dataset)
        variants = [dict(enabled=False), dict(enabled=True)]
        if not self.step.corrects_each_stage:
            return tuple(split.figures(self.step, variants))
        figures = []
        for variant in variants:  # boxes and logits of later stages depend on the correction: a pass for each
            self.step.enabled = variant['enabled']
            figures += split.figures(self.step, [variant])
        return tuple(figures)

    def summary(self, before: Mapping[str, float], after: Mapping[str, float]) -> str:
        rows = (('before', before), (f'{type(self.step).__name__}({self.step.extra_repr()})', after))
        width = max(len(name) for name, _ in rows)
        lines = [f'{"":<{width}}' + ''.join(f'{name.rpartition("/")[2].removeprefix("bbox_"):>10}' for name in before)]
        lines += [
            f'{name:<{width}}' + ''.join(f'{100 * v:>10.2f}' if v >= 0 else f'{"-":>10}' for v in figures.values())
            for name, figures in rows
        ]
        return '\n'.join(lines)


def _random_subset(dataset: Mapping, num_images: int) -> dict:
    return dict(type='ltmm.RandomSubset', dataset=dataset, num_images=num_images)


def _figure(figures: Mapping[str, float], objective: str) -> float:
    """Return the figure of this name, whatever prefix the metric has."""
    by_name = {name.rpartition('/')[2]: float(value) for name, value in figures.items()}
    if objective not in by_name:
        raise InputError(
            f'Expected validation images with objects of the classes in {objective}, but there are none. Search by '
            f'another figure (--objective), such as {next(iter(by_name))}.'
        )
    return by_name[objective]
