"""Average precision of a multi-label classifier on head, medium and tail classes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from torch import Tensor

from ltmm.class_distribution import missing_distribution_error
from ltmm.evaluation.reports.log_folder import write_to_log_folder
from ltmm.evaluation.reports.multi_label_report import MultiLabelReport
from ltmm.registry import METRICS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .shot_metric import ShotMetric, name_of, untested_classes

__all__ = ['MultiLabelMetric']


@METRICS.register_module()
class MultiLabelMetric(ShotMetric):
    """Average precision and F1 of a multi-label classifier on head, medium and tail classes, in percent.

    ``mAP``, the mean over the classes of :func:`~ltmm.evaluation.functional.average_precision`; ``head``, ``medium``,
    ``tail``, the same over the classes of each group; ``micro_f1`` over the labels of all classes, ``macro_f1``, mean
    over the classes. Means over classes ignore classes without positive test images; a group without tested classes is
    left out. Unknown labels (-1) are ignored. Duplicates added by MMEngine's ``DefaultSampler`` are dropped, so the
    figures do not depend on the number of ranks.

    Args:
        thresholds: (head, tail): head classes have at least ``head`` training images, tail classes fewer than ``tail``.
            Default: (100, 20), as for COCO-MLT and VOC-MLT. Others are those of :class:`ShotMetric`.
        thr: A class is predicted if its score is at least this, for the F1.
        class_counts: See :class:`ShotMetric`. For training with partial labels, give the config of the dataset with
            complete labels, such as ``dict(type='ltmm.COCOMLT', split='train')``.
        csv_name: File for the figures per class, next to the log; overwritten by the next evaluation. None: no file.
        collect_device: ``'cpu'`` or ``'gpu'``.
        prefix: Prefix of the names of the figures.
    """

    default_prefix = 'multi_label'

    def __init__(
        self,
        thresholds: Sequence[int] | dict | str | None = None,
        thr: float = 0.5,
        class_counts: Sequence[int] | dict | str | None = None,
        csv_name: str | None = 'per_class.csv',
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        check(thr=(thr, 'in (0, 1)'))
        self.thr, self.csv_name = thr, csv_name
        super().__init__(
            convention='multi_label',
            thresholds=thresholds,
            class_counts=class_counts,
            collect_device=collect_device,
            prefix=prefix,
        )

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store the scores and the labels per image.

        Args:
            data_batch: Not used.
            data_samples: Predictions with ``pred_score`` (C,), and ``gt_score`` (C,) or the indices of the positive
                classes, ``gt_label``.
        """
        if self.distribution is None:
            raise missing_distribution_error(type(self).__name__)
        scores = self._scores(data_samples).float()  # (N, C)
        self._check_finite(~scores.isfinite().all(1), data_samples)
        target = self._targets(data_samples)  # (N, C)
        self.results.extend(zip(scores.cpu().numpy(), target.cpu().numpy(), strict=True))

    def _targets(self, data_samples: Sequence[dict]) -> Tensor:
        """Collect the labels: 1 positive, 0 negative, -1 unknown, int8, (N, C)."""
        num_classes = len(self.distribution)
        targets = []
        for sample in data_samples:
            if 'gt_score' in sample:
                target = sample['gt_score']
            elif 'gt_label' in sample:
                label = sample['gt_label']
                self._check_range(label, 'gt_label', num_classes, [sample] * len(label))
                target = label.new_zeros(num_classes).index_fill_(0, label, 1)
            else:
                raise InputError(f'Expected `gt_score` or `gt_label` per image, but {name_of(sample)} has neither.')
            if target.shape != (num_classes,):
                raise InputError(
                    f'Expected `gt_score` of the {num_classes} training classes, but {name_of(sample)} has shape '
                    f'{tuple(target.shape)}.'
                )
            targets.append(target)
        target = torch.stack(targets)
        wrong = ((target != 0) & (target.abs() != 1)).nonzero()
        if len(wrong):
            i, c = wrong[0].tolist()
            raise InputError(
                'Expected `gt_score` to be 1 (positive), 0 (negative) or -1 (unknown), but '
                f'{name_of(data_samples[i])} has {target[i, c].item():g} for class {c}.'
            )
        return target.to(torch.int8)

    def compute_metrics(self, results: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        """Compute the figures in percent.

        Args:
            results: Scores (C,) and labels (C,) per image, from all ranks.
        """
        scores, target = (np.stack(column) for column in zip(*results, strict=True))  # (N, C) each
        distribution = self.distribution
        names = self.class_names or distribution.class_names or tuple(map(str, range(len(distribution))))
        report = MultiLabelReport.from_scores(scores, target, self.thr, names, distribution.image_counts, self.shots)
        if untested := untested_classes(names, report.test_images > 0, 'positive test images'):
            MMLogger.get_current_instance().info(untested)
        write_to_log_folder(self.csv_name, report.to_csv)
        return {name: value for name, value in report.figures().items() if not np.isnan(value)}
