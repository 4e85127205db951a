"""LVIS's average precision, for rare, common and frequent classes apart."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.datasets.lvis_annotations import AnnotationFileError, category_ids, read_lvis_annotations
from ltmm.registry import METRICS

__all__ = ['LVISMetric']

IOU_TYPES = ('bbox', 'segm')
FIGURES = ('AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf')
FREQUENCIES = dict(r='rare', c='common', f='frequent')


@METRICS.register_module()
class LVISMetric(BaseMetric):
    """Federated average precision of boxes and masks on LVIS, or on data of its layout.

    Figures are fractions: ``bbox_AP``, ``bbox_AP50``, ``bbox_AP75``; ``bbox_APs``, ``bbox_APm``, ``bbox_APl`` for
    small, medium and large objects; ``bbox_APr``, ``bbox_APc``, ``bbox_APf`` for rare, common and frequent classes;
    likewise ``segm_...``. They are those of the ``lvis`` package: an image is judged on the classes that were looked
    for in it; a class with objects and without detections has AP 0; a group without objects is -1. Only the images
    that were tested count, so that a part of a test set is scored as that part.

    Classes are rare, common or frequent as the categories' ``frequency`` in the annotation file says, or else by the
    training images (up to 10, up to 100, more). The area of a detected mask is its own, as in the package, not that of
    its box, as in mmdet's LVISMetric: APs, APm and APl of masks differ from mmdet's a little.

    Args:
        ann_file: the annotation file of the test set, the one the dataset reads.
        metric: ``'bbox'``, ``'segm'``, or both in a list.
        backend_args: of MMEngine's file backend, for an annotation file that is not on a local disk.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: of the names of the figures; ``'lvis'`` when left out.

    Raises:
        ImportError: the package ``lvis`` is missing.
        FileNotFoundError: no annotation file.
        AnnotationFileError: a broken annotation file, one without LVIS's fields, or without the dataset's classes.
        ClassDistributionError: the training data have other classes, or the same in another order.
        ValueError: at the first batch, a model without masks where ``'segm'`` is asked for, or an image or a label that
            the annotation file does not have.
        RuntimeError: at the first batch, neither the annotation file nor the training data say who is frequent.
    """

    default_prefix = 'lvis'

    def __init__(
        self,
        ann_file: str,
        metric: str | Sequence[str] = 'bbox',
        backend_args: dict | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.metrics = (metric,) if isinstance(metric, str) else tuple(metric)
        unknown = [name for name in self.metrics if name not in IOU_TYPES]
        if unknown or not self.metrics:
            raise ValueError(f"Expected `metric` to be 'bbox', 'segm' or both, but got {metric!r}.")
        try:
            from ltmm.evaluation import lvis_eval
        except ImportError as e:
            raise ImportError(f'LVISMetric needs the package lvis ({e}): pip install lvis==0.5.3') from None
        self.lvis = lvis_eval
        self.ann_file = ann_file
        content = read_lvis_annotations(ann_file, backend_args, federated=True, masks='segm' in self.metrics)
        self.ground_truth = lvis_eval.GroundTruth(content)
        self.distribution: ClassDistribution | None = None
        self.frequency = _frequencies(content['categories'], ann_file)
        self.cat_ids = np.array(list(category_ids(content, ann_file).values()))  # (C,), in label order

    # ------------------------------------------------------------------ which classes

    @BaseMetric.dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        """Take the class names of the test set: they say which category a label is."""
        self._dataset_meta = dataset_meta
        names = (dataset_meta or {}).get('classes')
        self.cat_ids = np.array(list(category_ids(self.ground_truth.dataset, self.ann_file, names).values()))

    def set_class_distribution(self, distribution: ClassDistribution) -> None:
        """Take the distribution of the training data, whose classes must be those of the test set."""
        names = tuple(self.ground_truth.cats[cat_id]['name'] for cat_id in self.cat_ids.tolist())
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

    def _frequency_of_tested(self) -> dict[int, str]:
        """'r', 'c' or 'f' of each tested category."""
        if self.frequency is not None:
            return {cat_id: self.frequency[cat_id] for cat_id in self.cat_ids.tolist()}
        if self.distribution is None:
            raise RuntimeError(
                f'LVISMetric does not know which classes are rare, common and frequent: the categories in '
                f'{self.ann_file} have no `frequency`, and no class distribution has arrived. Add custom_hooks = '
                "[dict(type='ltmm.ClassDistributionHook')] to the config (as ltmm's default_runtime.py does) and test "
                'a checkpoint that ltmm trained.'
            )
        return dict(zip(self.cat_ids.tolist(), self.distribution.lvis_frequency.tolist()))

    # ------------------------------------------------------------------ batches

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the detections of each image.

        Args:
            data_batch: not used.
            data_samples: what mmdet's detectors give: ``img_id``, and ``pred_instances`` with bboxes (K, 4) in pixels
                of the original image, scores (K,), labels (K,), and for masks also masks (K, H, W).
        """
        if not self.results:
            self._frequency_of_tested()
        for sample in data_samples:
            pred = sample['pred_instances']
            result = {key: pred[key].cpu().numpy() for key in ('bboxes', 'scores', 'labels')}
            self._check(sample['img_id'], result['labels'])
            if 'segm' in self.metrics:
                if 'masks' not in pred:
                    raise ValueError(
                        "LVISMetric(metric='segm'): the model gives no masks. Ask for metric='bbox', or use a model "
                        'with a mask head.'
                    )
                result['masks'] = self.lvis.encode_masks(pred['masks'].cpu().numpy())
                result['mask_scores'] = pred['mask_scores' if 'mask_scores' in pred else 'scores'].cpu().numpy()
            self.results.append((sample['img_id'], result))

    def _check(self, image_id: int, labels: np.ndarray) -> None:
        if image_id not in self.ground_truth.imgs:
            raise ValueError(
                f'LVISMetric: image {image_id} is not in {self.ann_file}. The dataset and the metric must read the '
                'same annotation file.'
            )
        if len(labels) and labels.max() >= len(self.cat_ids):
            raise ValueError(
                f'LVISMetric: the model found class {labels.max()} in image {image_id}, but the test set has '
                f'{len(self.cat_ids)} classes, 0 to {len(self.cat_ids) - 1}. Compare `num_classes` of the box head.'
            )

    # ------------------------------------------------------------------ figures

    def compute_metrics(self, results: list[tuple[int, dict]]) -> dict[str, float]:
        """The figures of all images that were tested.

        Args:
            results: (image id, detections) of all ranks.
        """
        if not results:
            raise ValueError('LVISMetric: the test set is empty.')
        by_image = dict(results)  # an image that filled up the last round of a rank counts once
        frequency = self._frequency_of_tested()
        metrics, rows = {}, []
        for iou_type in self.metrics:
            detections = [
                d for image_id, result in by_image.items() for d in self._detections(image_id, result, iou_type)
            ]
            evaluator = self.lvis.LVISEvaluator(
                self.ground_truth,
                self.lvis.Detections(self.ground_truth, detections),
                iou_type,
                list(by_image),
                frequency,
            )
            figures = evaluator.run()
            metrics |= {f'{iou_type}_{name}': figures[name] for name in FIGURES}
            rows.append(
                _row(iou_type, ('-' if figures[name] < 0 else f'{100 * figures[name]:.2f}' for name in FIGURES))
            )
        groups = ', '.join(
            f'{list(frequency.values()).count(letter)} {word}' for letter, word in reversed(FREQUENCIES.items())
        )
        MMLogger.get_current_instance().info(
            '\n'.join(
                [f'LVIS in percent: {len(by_image)} images; classes: {groups}.', _row('', FIGURES), *rows],
            )
        )
        return metrics

    def _detections(self, image_id: int, result: dict, iou_type: str) -> list[dict]:
        """The detections of an image that count, as the lvis package wants them."""
        scores = result['mask_scores' if iou_type == 'segm' else 'scores']
        best = np.argsort(-scores, kind='stable')[: self.lvis.MAX_DETECTIONS]  # (K',)
        cat_ids = self.cat_ids[result['labels'][best]]
        image = self.ground_truth.imgs[image_id]
        there = [annotation['category_id'] for annotation in self.ground_truth.img_ann_map[image_id]]
        verified = np.isin(cat_ids, image['neg_category_ids'] + there)
        best, cat_ids = best[verified], cat_ids[verified]
        common = [
            dict(image_id=image_id, category_id=cat_id, score=score)
            for cat_id, score in zip(cat_ids.tolist(), scores[best].tolist())
        ]
        if iou_type == 'segm':
            return [dict(d, segmentation=result['masks'][k]) for d, k in zip(common, best)]
        boxes = result['bboxes'][best].astype(float)
        boxes[:, 2:] -= boxes[:, :2]
        return [dict(d, bbox=box) for d, box in zip(common, boxes.tolist())]


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


def _row(name: str, cells: Iterable[str]) -> str:
    return f'{name:<6}' + ''.join(f'{cell:>8}' for cell in cells)
