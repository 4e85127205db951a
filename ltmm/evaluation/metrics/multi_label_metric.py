"""Multi-label average precision, for the head and the tail apart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from torch import Tensor

from ltmm.class_distribution import missing_distribution_error
from ltmm.evaluation.reports.class_csv import write_beside_log
from ltmm.evaluation.reports.multi_label_report import MultiLabelReport
from ltmm.registry import METRICS

from .shot_metric import EMPTY_GROUP, ShotMetric, name_of

__all__ = ['MultiLabelMetric']


@METRICS.register_module()
class MultiLabelMetric(ShotMetric):
    """What a multi-label classifier can do on head, medium and tail classes.

    Figures are in percent: ``mAP``, mean over the classes of the average precision of
    :func:`~ltmm.evaluation.functional.average_precision`, where equal scores are one step; ``head``, ``medium``,
    ``tail``, the same over the classes of each group; ``micro_f1`` of all labels together, ``macro_f1``, mean over the
    classes. Means over classes leave out those without a positive test image; a group without a tested class is -1.
    Labels that are unknown (-1) are left out everywhere.

    The class distribution of the training data arrives from :class:`ltmm.engine.ClassDistributionHook`. Scores and
    labels of all images are gathered from all ranks, where those with which MMEngine's ``DefaultSampler`` filled up its
    last round are dropped: the figures are those of one process.

    Args:
        thresholds: (head, tail): head classes have at least so many training images, tail classes fewer than so many;
            (100, 20) for COCO-MLT and VOC-MLT.
        thr: classes that score at least this are predicted, for the F1.
        class_counts: training images per class, as :meth:`ltmm.ClassDistribution.build` takes them; they stay when the
            hook brings others. Where labels are missing in training, head and tail are those of the complete labels
            by the config of the dataset that has them: ``dict(type='ltmm.COCOMLT', split='train')``.
        csv_name: file of the figures of each class, beside the log, overwritten by the next evaluation; None for none.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: of the names of the figures.

    Raises:
        ClassDistributionError: a number of classes that is not that of the test set.
        RuntimeError: at the first batch, when no class distribution has arrived.
        ValueError: ``thresholds`` or ``thr`` out of range; scores that are NaN or infinite; labels that are neither 1,
            0 nor -1, or of another number of classes.
    """

    default_prefix = 'multi_label'

    def __init__(
        self,
        thresholds: Sequence[int] = (100, 20),
        thr: float = 0.5,
        class_counts: Sequence[int] | dict | str | None = None,
        csv_name: str | None = 'per_class.csv',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        if not 0 < thr < 1:
            raise ValueError(f'Expected `thr` to be in (0, 1), but got {thr}.')
        if np.size(thresholds) != 2 or not 0 < thresholds[1] <= thresholds[0]:
            raise ValueError(f'Expected `thresholds` (head, tail) with 0 < tail <= head, but got {thresholds}.')
        self.thr, self.csv_name = thr, csv_name
        head, tail = thresholds
        more_than_and_fewer_than = (head - 1, tail)
        super().__init__('decoupling', more_than_and_fewer_than, None, None, class_counts, collect_device, prefix)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep the scores and the labels of each image.

        Args:
            data_batch: not used.
            data_samples: what the model gives, with ``pred_score`` (C,), and ``gt_score`` (C,) or ``gt_label``, the
                indices of the positive classes.
        """
        if self.distribution is None:
            raise missing_distribution_error(type(self).__name__)
        scores = self._scores(data_samples).float()  # (N, C)
        self._refuse_broken(~scores.isfinite().all(1), data_samples, 'NaN or infinite')
        target = self._targets(data_samples)  # (N, C)
        self.results.extend(zip(scores.cpu().numpy(), target.cpu().numpy(), strict=True))

    def _targets(self, data_samples: Sequence[dict]) -> Tensor:
        """The labels: 1 positive, 0 negative, -1 unknown, int8, (N, C)."""
        num_classes = len(self.distribution)
        targets = []
        for sample in data_samples:
            if 'gt_score' in sample:
                target = sample['gt_score']
            elif 'gt_label' in sample:
                label = sample['gt_label']
                self._refuse_outside(label, 'gt_label', num_classes, [sample] * len(label))
                target = label.new_zeros(num_classes).index_fill_(0, label, 1)
            else:
                raise ValueError(f'Expected `gt_score` or `gt_label` of each image, but {name_of(sample)} has neither.')
            if target.shape != (num_classes,):
                raise ValueError(
                    f'Expected `gt_score` of {num_classes} classes, as in the training data, but {name_of(sample)} '
                    f'has shape {tuple(target.shape)}.'
                )
            targets.append(target)
        target = torch.stack(targets)
        wrong = ((target != 0) & (target.abs() != 1)).nonzero()
        if len(wrong):
            i, c = wrong[0].tolist()
            raise ValueError(
                'Expected `gt_score` to be 1 (positive), 0 (negative) or -1 (unknown), but '
                f'{name_of(data_samples[i])} has {target[i, c].item():g} for class {c}.'
            )
        return target.to(torch.int8)

    def compute_metrics(self, results: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        """The figures, in percent.

        Args:
            results: scores (C,) and labels (C,) of all images of all ranks.
        """
        if not results:
            raise ValueError('MultiLabelMetric: the test set is empty.')
        scores, target = (np.stack(column) for column in zip(*results, strict=True))  # (N, C) each
        distribution = self.distribution
        names = self._class_names or distribution.class_names or tuple(map(str, range(len(distribution))))
        report = MultiLabelReport.from_scores(scores, target, self.thr, names, distribution.image_counts, self.shots)
        figures = report.figures()
        untested = int((report.test_images == 0).sum())
        if untested:
            MMLogger.get_current_instance().info(
                f'{untested} classes without a positive test image are left out of all means over classes.'
            )
        write_beside_log(self.csv_name, report.to_csv)
        return {name: EMPTY_GROUP if np.isnan(value) else value for name, value in figures.items()}
