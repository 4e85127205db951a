"""LVIS's average precision, for rare, common and frequent classes apart."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import nn

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.datasets.labels.lvis_annotations import (
    AnnotationFileError,
    category_ids,
    image_file_name,
    read_lvis_annotations,
)
from ltmm.evaluation.lvis.lvis_data import Detections, GroundTruth, encode_masks, packed_masks
from ltmm.evaluation.lvis.lvis_eval import LVISEvaluator
from ltmm.evaluation.reports.class_csv import write_beside_log
from ltmm.evaluation.reports.detection_report import FREQUENCIES, DetectionReport
from ltmm.registry import METRICS
from ltmm.utils.errors import did_you_mean

__all__ = ['LVISMetric']

IOU_TYPES = ('bbox', 'segm')
FIGURES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')
FIXED = ('AP', 'APr', 'APc', 'APf')  # likewise with '_fixed'


@METRICS.register_module()
class LVISMetric(BaseMetric):
    """Federated average precision of boxes and masks on LVIS, or on data of LVIS's or COCO's layout.

    Figures are fractions: ``bbox_AP``, ``bbox_AP50``, ``bbox_AP75``; ``bbox_APs``, ``bbox_APm``, ``bbox_APl`` for
    small, medium and large objects; ``bbox_APr``, ``bbox_APc``, ``bbox_APf`` for rare, common and frequent classes;
    likewise ``segm_...``. They are those of the ``lvis`` package: an image is judged on the classes that were looked
    for in it; a class with objects and without detections has AP 0; a group without objects is -1. Only the images
    that were tested count, so that a part of a test set is scored as that part. The 300 best detections of an image
    count; for ``bbox_AP_fixed``, ``bbox_APr_fixed``, ``bbox_APc_fixed`` and ``bbox_APf_fixed`` the 10,000 best of a
    class over all images instead (Dave et al., arXiv 2102.01066).

    Classes are rare, common or frequent as the categories' ``frequency`` in the annotation file says, or else by the
    training images (up to 10, up to 100, more). Groups of one's own give ``bbox_AP_<name>`` each, the mean AP of their
    classes that have objects. In a file without LVIS's fields of images (COCO's layout), all classes were looked for in
    all images. The area of a detected mask is its own, as in the package, not that of its box, as in mmdet's
    LVISMetric: APs, APm and APl of masks differ from mmdet's a little.

    Each test writes ``per_class_bbox.csv`` (``per_class_segm.csv``) beside its log: see
    :class:`ltmm.evaluation.DetectionReport`.

    Args:
        ann_file: the annotation file of the test set, the one the dataset reads.
        metric: ``'bbox'``, ``'segm'``, or both in a list.
        thresholds: classes are rare with up to this many training images, and common with up to that many, whatever the
            annotation file says: (10, 100) in LVIS.
        groups: class names of each group of one's own, by the name of the group.
        csv_name: of the files with the figures of each class, before ``_bbox`` is put in; None for no file.
        outfile_prefix: the detections of all images go to ``<outfile_prefix>.bbox.json`` (``.segm.json``), in COCO's
            and LVIS's layout; None for no file.
        backend_args: of MMEngine's file backend, for an annotation file that is not on a local disk.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: of the names of the figures; ``'lvis'`` when left out.

    Raises:
        FileNotFoundError: no annotation file.
        AnnotationFileError: a broken annotation file, or one without the dataset's classes.
        ClassDistributionError: the training data have other classes, or the same in another order.
        ValueError: a group with a class that the annotation file does not have; before the run, a model without masks
            where ``'segm'`` is asked for; at any batch, scores or boxes that are NaN or infinite,
            masks that are none of their image, and an image or a label that the annotation file does not have.
        RuntimeError: at the first batch, neither the annotation file nor the training data say who is frequent.
    """

    default_prefix = 'lvis'

    def __init__(
        self,
        ann_file: str,
        metric: str | Sequence[str] = 'bbox',
        thresholds: Sequence[int] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        csv_name: str | None = 'per_class.csv',
        outfile_prefix: str | None = None,
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = (metric,) if isinstance(metric, str) else tuple(metric)
        unknown = [name for name in self.metrics if name not in IOU_TYPES]
        if unknown or not self.metrics:
            raise ValueError(f"Expected `metric` to be 'bbox', 'segm' or both, but got {metric!r}.")
        if thresholds is not None and (np.size(thresholds) != 2 or not 0 <= thresholds[0] < thresholds[1]):
            raise ValueError(
                'Expected `thresholds` to be two ascending numbers of training images, (rare up to, common up to), '
                f'but got {thresholds!r}.'
            )
        self.thresholds = thresholds
        if outfile_prefix is not None and (not outfile_prefix or outfile_prefix.endswith('/')):
            raise ValueError(f'Expected `outfile_prefix` to end in the name of a file, but got {outfile_prefix!r}.')
        self.csv_name, self.outfile_prefix = csv_name, outfile_prefix
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

    # ------------------------------------------------------------------ which classes

    def _check_groups(self) -> None:
        for name, classes in self.groups.items():
            if name == 'fixed':
                raise ValueError("Expected `groups` to have other names than 'fixed': AP_fixed is another figure.")
            if isinstance(classes, str):
                raise ValueError(f'Expected `groups` to have lists of class names, but got {name}={classes!r}.')
            unknown = [each for each in classes if each not in self.cat_ids]
            if unknown:
                raise ValueError(
                    f'Expected the classes of `groups` to be categories of {self.ann_file}, but {len(unknown)} of '
                    f'{name!r} are not, {unknown[0]!r} first.{did_you_mean(unknown[0], list(self.cat_ids))}'
                )

    @BaseMetric.dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        """Take the class names of the test set: they say which category a label is."""
        self._dataset_meta = dataset_meta
        names = (dataset_meta or {}).get('classes')
        self.cat_ids = category_ids(dict(categories=self.categories), self.ann_file, names)

    def check_model(self, model: nn.Module) -> None:
        """Refuse a detector without masks where they are asked for."""
        if 'segm' in self.metrics and not _gives_masks(model):
            raise ValueError(
                f"LVISMetric(metric='segm'): the {type(model).__name__} has no mask head. Ask for metric='bbox', or "
                'use a model with one.'
            )

    def set_class_distribution(self, distribution: ClassDistribution) -> None:
        """Take the distribution of the training data, whose classes must be those of the test set."""
        names = tuple(self.cat_ids)
        if len(distribution) != len(names):
            raise ClassDistributionError(
                f'LVISMetric: expected the training data to have the {len(names)} classes of the test set, '
                f'{self.ann_file}, but they have {len(distribution)}. Name the training classes by '
                'test_dataloader.dataset.metainfo.'
            )
        trained = distribution.class_names or names
        moved = [i for i, name in enumerate(trained) if name != names[i] and name in names]
        if moved:
            i = moved[0]
            raise ClassDistributionError(
                f'LVISMetric: expected training and test set to have their classes in the same order, but class {i} '
                f'is {trained[i]!r} in training and {names[i]!r} in {self.ann_file}.'
            )
        self.distribution = distribution

    def _frequency(self) -> np.ndarray:
        """'r', 'c' or 'f' of each tested class, (C,)."""
        if self.letters is not None:
            return np.array([self.letters[cat_id] for cat_id in self.cat_ids.values()])
        if self.distribution is None:
            why = 'have no `frequency`' if self.thresholds is None else 'do not say it for these `thresholds`'
            raise RuntimeError(
                f'LVISMetric does not know which classes are rare, common and frequent: the categories in '
                f'{self.ann_file} {why}, and no class distribution has arrived. Add custom_hooks = '
                "[dict(type='ltmm.ClassDistributionHook')] to the config (as ltmm's default_runtime.py does) and test "
                'a checkpoint that ltmm trained.'
            )
        if self.thresholds is None:
            return self.distribution.lvis_frequency
        return np.array(['r', 'c', 'f'])[self.distribution.image_groups(self.thresholds)]

    # ------------------------------------------------------------------ batches

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the detections of each image.

        Args:
            data_batch: not used.
            data_samples: what mmdet's detectors give: ``img_id``, and ``pred_instances`` with bboxes (K, 4) in pixels
                of the original image, scores (K,), labels (K,), and for masks also masks: (K, H, W), or K run-length
                codes.
        """
        if not self.results:
            self._frequency()
        for sample in data_samples:
            pred = sample['pred_instances']
            keys = ['bboxes', 'scores', 'labels', *(['mask_scores'] if 'mask_scores' in pred else [])]
            result = {key: pred[key].cpu().numpy() for key in keys}
            self._check_image(sample['img_id'], sample.get('img_path'))
            self._check(sample['img_id'], result)
            if 'segm' in self.metrics:
                if 'masks' not in pred:
                    raise ValueError(
                        "LVISMetric(metric='segm'): the model gives no masks. Ask for metric='bbox', or use a model "
                        'with a mask head.'
                    )
                result['masks'] = self._codes(sample['img_id'], pred['masks'])
                result.setdefault('mask_scores', result['scores'])
            self.results.append((sample['img_id'], result))

    def _check_image(self, image_id: int, path: str | None) -> None:
        """Refuse another annotation file than that of the dataset; its images may have the same ids."""
        names = self.file_names.get(image_id)
        if names is None:
            problem = f'is not in {self.ann_file}'
        elif path is not None and Path(path).name not in [Path(name).name for name in names if name]:
            problem = f'is {path} in the dataset, but {names[0]} in {self.ann_file}'
        else:
            return
        raise ValueError(
            f'LVISMetric: image {image_id} {problem}. The dataset and the metric must read the same annotation file.'
        )

    def _check(self, image_id: int, result: Mapping[str, np.ndarray]) -> None:
        labels, num_classes = result['labels'], len(self.cat_ids)
        outside = labels[(labels < 0) | (labels >= num_classes)]
        if len(outside):
            raise ValueError(
                f'LVISMetric: the model found class {outside[0]} in image {image_id}, but the test set has '
                f'{num_classes} classes, 0 to {num_classes - 1}. Compare `num_classes` of the box head.'
            )
        for key, values in result.items():
            if not np.isfinite(values).all():
                raise ValueError(
                    f'LVISMetric: the model gives {key} that are NaN or infinite in image {image_id}. Has the '
                    'training diverged, or is the checkpoint of another model?'
                )

    def _codes(self, image_id: int, masks: torch.Tensor | Sequence) -> list[Mapping]:
        """Run-length codes of the masks of an image."""
        size = self.sizes[image_id]
        if not isinstance(masks, torch.Tensor):
            return packed_masks(
                masks,
                [size] * len(masks),
                lambda i: f'LVISMetric: mask {i} that the model gives of image {image_id}',
                ValueError,
            )
        if list(masks.shape[1:]) != size:
            raise ValueError(
                f'LVISMetric: the model gives masks of {list(masks.shape[1:])} pixels of image {image_id}, but it has '
                f'{size} (height, width) in {self.ann_file}. Masks must have the size of the original image.'
            )
        return encode_masks(masks.cpu().numpy())

    # ------------------------------------------------------------------ figures

    def compute_metrics(self, results: list[tuple[int, dict]]) -> dict[str, float]:
        """The figures of all images that were tested.

        Args:
            results: (image id, detections) of all ranks.
        """
        if not results:
            raise ValueError('LVISMetric: the test set is empty.')
        results = sorted(dict(results).items())  # an image that filled up the last round of a rank counts once
        frequency, cat_ids = self._frequency(), np.array(list(self.cat_ids.values()))
        names, metrics, rows = list(self.cat_ids), {}, []
        for iou_type in self.metrics:
            found = Detections.from_results(results, cat_ids, iou_type)
            if self.outfile_prefix is not None:
                found.write(f'{self.outfile_prefix}.{iou_type}.json')
            tested = [image_id for image_id, _ in results]
            evaluator = LVISEvaluator(self.ground_truth, found, iou_type, tested, cat_ids)
            ap, fixed = evaluator.best_per_image(), evaluator.best_per_class()
            figures, fixed_figures = ap.figures(frequency), fixed.figures(frequency)
            figures = {name: figures[name] for name in FIGURES}
            figures |= {f'{name}_fixed': fixed_figures[name] for name in FIXED}
            figures |= {f'AP_{name}': ap.mean_ap(np.isin(names, classes)) for name, classes in self.groups.items()}
            metrics |= {f'{iou_type}_{name}': value for name, value in figures.items()}
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
                write_beside_log(str(path.with_stem(f'{path.stem}_{iou_type}')), report.to_csv)
        groups = ', '.join(f'{np.count_nonzero(frequency == letter)} {word}' for letter, word in FREQUENCIES.items())
        head = f'LVIS in percent: {len(results)} images; classes: {groups}.'
        MMLogger.get_current_instance().info('\n'.join([head, _row('', {name: name for name in figures}), *rows]))
        return metrics


def _frequencies(categories: list[dict], ann_file: str) -> dict[int, str] | None:
    """'r', 'c' or 'f' by category id; None where the file does not say."""
    letters = {cat['id']: cat.get('frequency') for cat in categories}
    if not any(letters.values()):
        return None
    wrong = [cat_id for cat_id, letter in letters.items() if letter not in FREQUENCIES]
    if wrong:
        raise AnnotationFileError(
            f"{ann_file} has {len(wrong)} categories whose `frequency` is not 'r', 'c' or 'f'; the first is category "
            f'{wrong[0]} with {letters[wrong[0]]!r}.'
        )
    return letters


def _gives_masks(model: nn.Module) -> bool:
    """False for the detectors of boxes alone."""
    roi_head, bbox_head = getattr(model, 'roi_head', None), getattr(model, 'bbox_head', None)
    if roi_head is not None:
        return roi_head.with_mask
    # one-stage heads that give masks themselves have methods for them
    return bbox_head is None or model.with_mask or any('mask' in name for name in dir(bbox_head))


def _row(title: str, cells: Mapping[str, float | str]) -> str:
    """A line of the table; a group without objects is a dash."""

    def shown(value: float | str) -> str:
        return value if isinstance(value, str) else '-' if value < 0 else f'{100 * value:.2f}'

    return f'{title:<6}' + ''.join(f'{shown(value):>{max(8, len(name) + 2)}}' for name, value in cells.items())
