"""Labeled images, and unlabeled ones with the labels that a trained model gave them."""

from typing import Any

import numpy as np
from mmengine.dataset import force_full_init

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS
from ltmm.utils.data_files import read_json
from ltmm.utils.errors import InputError

from .semi_supervised import SemiSupervised

__all__ = ['PseudoLabeled']


@DATASETS.register_module()
class PseudoLabeled(SemiSupervised):
    """Labeled images followed by unlabeled ones with pseudo-labels, which count as labels in all that follows.

    Class counts, and with them margins, weights and samplers, are those of labels and pseudo-labels together. A class
    may have no pseudo-label. The true labels of the unlabeled part stay in :attr:`true_labels`, for reports.

    References:
        [0] Yang and Xu, Rethinking the Value of Labels for Improving Class-Imbalanced Learning, NeurIPS 2020,
            arXiv 2006.07529.
        [1] github.com/YyzHarry/imbalanced-semi-self @b91ad29, ``train_semi.py`` (tests/conformance,
            ``trajectory_semi_self``).

    Args:
        labeled: Images with one label each, or their config.
        unlabeled: Images with or without labels, or their config.
        pseudo_labels: File of an ``ltmm.PseudoLabelStage``, such as ``'stage://pseudo_label'``.
        lazy_init: Load all on first use.
    """

    def __init__(self, labeled: Any, unlabeled: Any, pseudo_labels: str, lazy_init: bool = False) -> None:
        self.pseudo_labels = pseudo_labels
        super().__init__(labeled, unlabeled, lazy_init)

    def full_init(self) -> None:
        """Load both datasets and the pseudo-labels."""
        if self._fully_initialized:
            return
        super().full_init()
        table, content = self._labeled_table, read_json(self.pseudo_labels)
        if not isinstance(content, dict) or not {'classes', 'labels'} <= content.keys():
            raise InputError(
                f'{self.pseudo_labels}: expected a dictionary of `classes` and `labels`, as PseudoLabelStage writes '
                f'it, but got {sorted(content) if isinstance(content, dict) else type(content).__name__}.'
            )
        names, labels = content['classes'], np.asarray(content['labels'])
        if table.class_names is not None and names is not None and tuple(names) != tuple(table.class_names):
            raise InputError(
                f'{self.pseudo_labels}: expected the {table.num_classes} classes of the labeled images, but got '
                f'{len(names)} others or another order: run the PseudoLabelStage again with these data.'
            )
        if len(labels) != self._sizes[1]:
            raise InputError(
                f'{self.pseudo_labels}: expected pseudo-labels of {self._sizes[1]} unlabeled images, but got '
                f'{len(labels)}: run the PseudoLabelStage again.'
            )
        pseudo = LabelTable.from_labels(labels, table.num_classes, table.class_names)
        self._table = LabelTable.concatenate([table, pseudo])

    @force_full_init
    def get_label_table(self) -> LabelTable:
        """Return labels and pseudo-labels."""
        return self._table

    @force_full_init
    def get_class_distribution(self) -> ClassDistribution:
        """Return the class distribution of labels and pseudo-labels."""
        return self._table.class_distribution()

    def get_data_info(self, idx: int) -> dict:
        """Return the record of sample ``idx``, with its label or pseudo-label."""
        return dict(super().get_data_info(idx), gt_label=int(self.get_label_table().labels[idx]))

    def __getitem__(self, idx: int) -> dict:
        item = super().__getitem__(idx)
        item['data_samples'].set_gt_label(int(self._table.labels[idx]))
        return item
