"""Average precision on OpenImages, also per fifth of the classes by their training instances."""

from collections.abc import Sequence

import numpy as np
from mmdet.evaluation import OpenImagesMetric as MMDetOpenImagesMetric
from mmdet.evaluation import eval_map
from mmengine.logging import MMLogger

from ltmm.class_distribution import ClassDistribution
from ltmm.evaluation.non_empty import NonEmptyTestSet
from ltmm.registry import METRICS
from ltmm.utils.errors import InputError

__all__ = ['OpenImagesMetric']

NUM_GROUPS = 5


@METRICS.register_module()
class OpenImagesMetric(NonEmptyTestSet, MMDetOpenImagesMetric):
    """The AP of OpenImages Challenge 2019 as mmdet computes it, and its mean over groups of rare to frequent classes.

    Figures are in [0, 1]. ``AP50`` is the mean over the classes with objects in the test set, at IoU 0.5. ``AP1`` is
    that of the classes with fewest training instances, ``AP5`` that of the most frequent, with 100 of the 500 classes
    in each group (EQLv2, arXiv 2012.08548). :class:`ltmm.engine.ClassDistributionHook` passes the instances of the
    training data. With several ``iou_thrs``, the groups are at the first.

    Args:
        iou_thrs: See :class:`mmdet.evaluation.OpenImagesMetric`.
        ioa_thrs: Same.
        **kwargs: Same, but for ``scale_ranges``.
    """

    def __init__(self, iou_thrs: float | list[float] = 0.5, ioa_thrs: float | list[float] = 0.5, **kwargs) -> None:
        if 'scale_ranges' in kwargs:
            raise InputError('OpenImagesMetric has figures of all sizes together: leave out `scale_ranges`.')
        super().__init__(iou_thrs=iou_thrs, ioa_thrs=ioa_thrs, **kwargs)
        if self.use_group_of and None in self.ioa_thrs:
            raise InputError(f'Expected `ioa_thrs` to be numbers with use_group_of=True, but got {ioa_thrs}.')
        self.distribution: ClassDistribution | None = None

    def set_class_distribution(self, distribution: ClassDistribution) -> None:
        """Set the class distribution of the training data."""
        distribution.check_classes(self.dataset_meta['classes'] if self.dataset_meta else (), 'the test set')
        self.distribution = distribution

    def compute_metrics(self, results: Sequence[tuple[dict, list[np.ndarray]]]) -> dict[str, float]:
        """Compute the figures of all images.

        Args:
            results: The ground truth of each image, and its detections per class, (N, 5).
        """
        ground_truths, detections = zip(*results)
        figures = {}
        for iou_thr, ioa_thr in zip(self.iou_thrs, self.ioa_thrs):
            mean, classes = eval_map(
                detections,
                ground_truths,
                iou_thr=iou_thr,
                ioa_thr=ioa_thr,
                dataset=self.dataset_meta.get('dataset_type', 'oid_v6'),
                logger=MMLogger.get_current_instance(),
                use_group_of=self.use_group_of,
            )
            figures[f'AP{round(100 * iou_thr)}'] = mean
            if len(figures) == 1 and self.distribution is not None:
                figures |= self._groups(classes)
        return figures

    def _groups(self, classes: Sequence[dict]) -> dict[str, float]:
        """Mean AP of the classes with objects, per group."""
        ap = np.array([each['ap'] if each['num_gts'] else np.nan for each in classes])
        groups = np.array_split(self.distribution.instance_counts.argsort(kind='stable'), NUM_GROUPS)
        return {
            f'AP{number}': float(np.nanmean(ap[group]))
            for number, group in enumerate(groups, 1)
            if not np.isnan(ap[group]).all()
        }
