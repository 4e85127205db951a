"""Federated average precision on LVIS, per rare, common and frequent group."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import nn

from ltmm.class_distribution import FREQUENCIES, ClassDistribution
from ltmm.datasets.labels.lvis_annotations import (
    AnnotationFileError,
    category_ids,
    image_file_name,
    read_lvis_annotations,
)
from ltmm.evaluation.lvis.hotcoco_eval import fastest_evaluator
from ltmm.evaluation.lvis.lvis_data import Detections, GroundTruth, encode_masks, packed_masks
from ltmm.evaluation.lvis.lvis_eval import EMPTY_GROUP, FIGURES, MAX_PER_IMAGE
from ltmm.evaluation.non_empty import NonEmptyTestSet
from ltmm.evaluation.reports.detection_report import DetectionReport
from ltmm.evaluation.reports.log_folder import write_to_log_folder
from ltmm.registry import METRICS
from ltmm.utils.errors import InputError, MissingInputError, did_you_mean
from ltmm.utils.shots import check_thresholds, group_classes

__all__ = ['LVISMetric']

FIXED = ('AP', 'APr', 'APc', 'APf')  # also with '_fixed'


@METRICS.register_module()
class LVISMetric(NonEmptyTestSet, BaseMetric):
    """Federated average precision of boxes and masks, for annotation files in LVIS or COCO format.

    Figures are in [0, 1]: ``bbox_AP``, ``bbox_AP50``, ``bbox_AP75``; ``bbox_APs``, ``bbox_APm``, ``bbox_APl`` for
    small, medium and large objects; ``bbox_APr``, ``bbox_APc``, ``bbox_APf`` for rare, common and frequent classes; the
    average recalls ``bbox_AR``, ``bbox_ARs``, ``bbox_ARm``, ``bbox_ARl``; the same for ``segm``. They equal those of
    the ``lvis`` package, computed over the tested images only: an image counts for the classes verified in it; a class
    with objects but no detections has AP 0; a group without objects is left out. The best 300 detections per image
    count, and the log says if there are more; for ``bbox_AP_fixed``, ``bbox_APr_fixed``, ``bbox_APc_fixed`` and
    ``bbox_APf_fixed``, the best 10,000 per class over all images (Dave et al., arXiv 2102.01066).

    The package hotcoco computes the figures (extra ``det``). Without it, ltmm's own :class:`LVISEvaluator` does, which
    takes several times longer and gives the same figures; the log says so.

    The ``frequency`` of a category in the annotation file says whether it is rare, common or frequent; without it, the
    number of training images does (up to 10, up to 100, more). In COCO format, all classes count as verified in all
    images. The area of a detected mask is that of the mask, as in the package; mmdet's LVISMetric takes that of its
    box, so APs, APm and APl of masks differ slightly.

    The figures per class are written to ``per_class_bbox.csv`` and ``per_class_segm.csv`` next to the log, see
    :class:`ltmm.evaluation.DetectionReport`.

    Args:
        ann_file: Annotation file of the test set, the same as that of the dataset.
        metric: ``'bbox'``, ``'segm'``, or both in a list.
        thresholds: Maximum training images of (rare, common) classes, instead of the ``frequency`` in the annotation
            file; (10, 100) in LVIS. Also ``dict(quantile=(1/3, 2/3))``, ``dict(rank=(num_rare, num_frequent))`` or
            ``'auto'``, see :func:`ltmm.utils.shots.group_classes`.
        groups: Further groups of classes, ``{name: class names}``; ``bbox_AP_<name>`` is the mean AP of each.
        csv_name: File for the figures per class; ``_bbox`` or ``_segm`` is added to the name. None: no file.
        outfile_prefix: Write the detections to ``<outfile_prefix>.bbox.json`` and ``.segm.json``, in COCO format.
            None: no file.
        backend_args: Arguments of MMEngine's file backend, for an annotation file on a remote disk.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the names of the figures. Default: ``'lvis'``.
    """

    default_prefix = 'lvis'

    def __init__(
        self,
        ann_file: str,
        metric: str | Sequence[str] = 'bbox',
        thresholds: Sequence[int] | dict | str | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        csv_name: str | None = 'per_class.csv',
        outfile_prefix: str | None = None,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = (metric,) if isinstance(metric, str) else tuple(metric)
        if not self.metrics or set(self.metrics) - {'bbox', 'segm'}:
            raise InputError(f"Expected `metric` to be 'bbox', 'segm' or both, but got {metric!r}.")
        if isinstance(thresholds, (tuple, list)) and not (len(thresholds) == 2 and 0 <= thresholds[0] < thresholds[1]):
            raise InputError(f'Expected `thresholds` to be two ascending numbers of images, but got {thresholds!r}.')
        if thresholds is not None:
            check_thresholds(_many_first(thresholds))
        if outfile_prefix is not None and (not outfile_prefix or outfile_prefix.endswith('/')):
            raise InputError(f'Expected `outfile_prefix` to end in a file name, but got {outfile_prefix!r}.')
        self.thresholds, self.csv_name, self.outfile_prefix = thresholds, csv_name, outfile_prefix
        self.ann_file = ann_file
        content = read_lvis_annotations(ann_file, backend_args, masks='segm' in self.metrics)
        self.ground_truth = GroundTruth.from_content(content, ann_file, masks='segm' in self.metrics)
        self.file_names = {image['id']: (image_file_name(image), image.get('file_name')) for image in content['images']}
        self.sizes = dict(zip(self.ground_truth.image_ids.tolist(), self.ground_truth.sizes.tolist()))
        self.categories = content['categories']
        self.distribution: ClassDistribution | None = None
        self.letters = _frequencies(self.categories, ann_file) if thresholds is None else None
        self.cat_ids: dict[str, int] = category_ids(content, ann_file)  # in label order
        self.groups = dict(groups or {})
        self._check_groups()

    # ------------------------------------------------------------------ classes and their groups

    def _check_groups(self) -> None:
        for name, classes in self.groups.items():
            if name == 'fixed' or isinstance(classes, str):
                raise InputError(
                    f"Expected `groups` to map names (not 'fixed') to lists of classes, but got {name}={classes!r}."
                )
            if unknown := [each for each in classes if each not in self.cat_ids]:
                raise InputError(
                    f'Expected the classes in `groups` to be categories of {self.ann_file}, but {len(unknown)} of '
                    f'{name!r} are not, {unknown[0]!r} first.{did_you_mean(unknown[0], self.cat_ids)}'
                )

    @BaseMetric.dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        """Set the class names of the test set, which map labels to categories."""
        self._dataset_meta = dataset_meta
        names = (dataset_meta or {}).get('classes')
        self.cat_ids = category_ids(dict(categories=self.categories), self.ann_file, names)
        if self.distribution is not None:
            self.set_class_distribution(self.distribution)

    def check_model(self, model: nn.Module) -> None:
        """Raise if masks are to be evaluated but the detector has no mask head."""
        if 'segm' in self.metrics and not _predicts_masks(model):
            raise InputError(
                f"LVISMetric(metric='segm') needs a model with a mask head, but {type(model).__name__} has none. "
                "Use metric='bbox'."
            )

    def set_class_distribution(self, distribution: ClassDistribution) -> None:
        """Set the class distribution of the training data, which needs the classes of the test set."""
        distribution.check_classes(tuple(self.cat_ids), self.ann_file)
        self.distribution = distribution

    def _frequency(self) -> np.ndarray:
        """Return 'r', 'c' or 'f' per tested class, (C,)."""
        if self.letters is not None:
            return np.array([self.letters[cat_id] for cat_id in self.cat_ids.values()])
        if self.distribution is None:
            why = f'{self.ann_file} has no `frequency`' if self.thresholds is None else '`thresholds` are given'
            raise MissingInputError(
                f'LVISMetric needs the class distribution of the training data, because {why}. Add '
                "dict(type='ltmm.ClassDistributionHook') to custom_hooks and test a checkpoint that ltmm trained."
            )
        if self.thresholds is None:
            return self.distribution.lvis_frequency
        counts, thresholds = self.distribution.image_counts, _many_first(self.thresholds)
        shots = group_classes(counts, thresholds, default=(100, 10), few_inclusive=True)
        return np.select([shots.many, shots.few], ['f', 'r'], 'c')

    # ------------------------------------------------------------------ batches

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store the detections per image.

        Args:
            data_batch: Not used.
            data_samples: Predictions of an mmdet detector: ``img_id``, and ``pred_instances`` with bboxes (K, 4) in
                pixels of the original image, scores (K,), labels (K,), and masks (K, H, W) or K run-length codes.
        """
        if not self.results:
            self._frequency()
        for sample in data_samples:
            pred = sample['pred_instances']
            keys = ['bboxes', 'scores', 'labels', *(['mask_scores'] if 'mask_scores' in pred else [])]
            result = {key: pred[key].cpu().numpy() for key in keys}
            self._check_image(sample['img_id'], sample.get('img_path'))
            self._check_values(sample['img_id'], result)
            if 'segm' in self.metrics:
                if 'masks' not in pred:
                    raise InputError("LVISMetric(metric='segm') needs masks, but the model predicts none.")
                result['masks'] = self._run_lengths(sample['img_id'], pred['masks'])
                result.setdefault('mask_scores', result['scores'])
            self.results.append((sample['img_id'], result))

    def _check_image(self, image_id: int, path: str | None) -> None:
        """Raise if the dataset reads another annotation file, even if the ids of its images are the same."""
        names = self.file_names.get(image_id)
        if names is None:
            problem = f'is not in {self.ann_file}'
        elif path is not None and Path(path).name not in [Path(name).name for name in names if name]:
            problem = f'is {path} in the dataset, but {names[0]} in {self.ann_file}'
        else:
            return
        raise InputError(f'Image {image_id} {problem}. The dataset and LVISMetric need the same annotation file.')

    def _check_values(self, image_id: int, result: Mapping[str, np.ndarray]) -> None:
        labels, num_classes = result['labels'], len(self.cat_ids)
        outside = labels[(labels < 0) | (labels >= num_classes)]
        if len(outside):
            raise InputError(
                f'Expected labels in [0, {num_classes}), but the model predicts {outside[0]} in image {image_id}. '
                'Check `num_classes` of the box head.'
            )
        for key, values in result.items():
            if not np.isfinite(values).all():
                raise InputError(
                    f'Expected finite {key}, but the model predicts NaN or infinite values in image {image_id}. Has '
                    'the training diverged, or is the checkpoint of another model?'
                )

    def _run_lengths(self, image_id: int, masks: torch.Tensor | Sequence) -> list[Mapping]:
        """Encode the masks of an image as run-length codes."""
        size = self.sizes[image_id]
        if not isinstance(masks, torch.Tensor):
            return packed_masks(masks, [size] * len(masks), lambda i: f'Predicted mask {i} of image {image_id}')
        if list(masks.shape[1:]) != size:
            raise InputError(
                f'Expected masks of the size of image {image_id}, {size}, but got {list(masks.shape[1:])}.'
            )
        return encode_masks(masks.cpu().numpy())

    # ------------------------------------------------------------------ figures

    @property
    def figure_names(self) -> list[str]:
        """Names of all figures, also of groups that may turn out to be without objects."""
        names = [*FIGURES, *(f'{name}_fixed' for name in FIXED), *(f'AP_{name}' for name in self.groups)]
        return [f'{iou_type}_{name}' for iou_type in self.metrics for name in names]

    def compute_metrics(self, results: list[tuple[int, dict]]) -> dict[str, float]:
        """Compute the figures of the tested images.

        Args:
            results: (image id, detections) per image, from all ranks.
        """
        results = sorted(dict(results).items())  # drops the duplicates of DefaultSampler
        (evaluator_type, problem), logger = fastest_evaluator(), MMLogger.get_current_instance()
        if problem:
            logger.info(f'LVISMetric is several times faster with hotcoco. {problem}')
        frequency, cat_ids = self._frequency(), np.array(list(self.cat_ids.values()))
        names, metrics, rows = list(self.cat_ids), {}, []
        for iou_type in self.metrics:
            found = Detections.from_results(results, cat_ids, iou_type)
            if self.outfile_prefix is not None:
                found.write(f'{self.outfile_prefix}.{iou_type}.json')
            tested = [image_id for image_id, _ in results]
            if iou_type == self.metrics[0] and (beyond := found.beyond(MAX_PER_IMAGE)):
                logger.info(f'LVISMetric: {beyond}; AP_fixed counts the best of each class.')
            evaluator = evaluator_type(self.ground_truth, found, iou_type, tested, cat_ids)
            ap, fixed = evaluator.best_per_image(), evaluator.best_per_class()
            figures, fixed_figures = ap.figures(frequency), fixed.figures(frequency)
            figures |= {f'{name}_fixed': fixed_figures[name] for name in FIXED}
            figures |= {f'AP_{name}': ap.mean_ap(np.isin(names, classes)) for name, classes in self.groups.items()}
            metrics |= {f'{iou_type}_{name}': value for name, value in figures.items() if value != EMPTY_GROUP}
            rows.append(_row(iou_type, figures))
            report = DetectionReport(
                names=tuple(names),
                train_images=self.distribution.image_counts if self.distribution else None,
                frequency=frequency,
                test_images=ap.num_images,
                test_instances=ap.num_objects,
                ap=100 * ap.ap,
                ap50=100 * ap.ap50,
                ap_fixed=100 * fixed.ap,
            )
            if self.csv_name is not None:
                path = Path(self.csv_name)
                write_to_log_folder(str(path.with_stem(f'{path.stem}_{iou_type}')), report.to_csv)
        groups = ', '.join(f'{np.count_nonzero(frequency == letter)} {word}' for letter, word in FREQUENCIES.items())
        if isinstance(self.thresholds, (str, Mapping)):
            source = f'thresholds={self.thresholds!r}'
        else:
            rare, common = self.thresholds or (10, 100)
            source = f'rare up to {rare}, common up to {common} training images'
        source = source if self.letters is None else '`frequency` in the annotation file'
        title = f'LVIS in percent: {len(results)} images; classes: {groups} ({source}).'
        logger.info('\n'.join([title, _row('', {name: name for name in figures}), *rows]))
        return metrics


def _many_first(thresholds: Any) -> Any:
    """Return the limits in the order of :func:`ltmm.utils.shots.group_classes`; LVIS begins with the rare classes."""
    if isinstance(thresholds, Mapping):
        return {kind: _many_first(bounds) for kind, bounds in thresholds.items()}
    return tuple(reversed(thresholds)) if isinstance(thresholds, (tuple, list)) else thresholds


def _frequencies(categories: list[dict], ann_file: str) -> dict[int, str] | None:
    """Map category ids to 'r', 'c' or 'f'; None if the file does not have them."""
    letters = {cat['id']: cat.get('frequency') for cat in categories}
    if not any(letters.values()):
        return None
    for cat_id, letter in letters.items():
        if letter not in FREQUENCIES:
            raise AnnotationFileError(
                f"Expected `frequency` to be 'r', 'c' or 'f' in {ann_file}, but category {cat_id} has {letter!r}."
            )
    return letters


def _predicts_masks(model: nn.Module) -> bool:
    """Whether an mmdet detector predicts masks."""
    roi_head, bbox_head = getattr(model, 'roi_head', None), getattr(model, 'bbox_head', None)
    if roi_head is not None:
        return roi_head.with_mask
    # one-stage heads that predict masks have methods for them
    return bbox_head is None or model.with_mask or any('mask' in name for name in dir(bbox_head))


def _row(title: str, cells: Mapping[str, float | str]) -> str:
    """Format a row of the table; ``-`` for a group without objects."""

    def shown(value: float | str) -> str:
        return value if isinstance(value, str) else '-' if value < 0 else f'{100 * value:.2f}'

    return f'{title:<6}' + ''.join(f'{shown(value):>{max(8, len(name) + 2)}}' for name, value in cells.items())
