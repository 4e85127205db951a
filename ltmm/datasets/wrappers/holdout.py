"""A validation and a test set split off the training data, for data without them."""

from typing import Any

import numpy as np

from ltmm.datasets.images import base_datasets
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.datasets.stratified_split import check_part_size, stratified_split, warn_of_missing_classes
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .selection import Selection

__all__ = ['Holdout', 'split_holdout']

PARTS = ('train', 'val', 'test')


def split_holdout(labels: np.ndarray, per_class: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split samples by their labels (N,) into ascending training and validation indices.

    The validation part gets ``per_class`` samples of each class, or this share of them, but at least one and at most
    half. See :func:`ltmm.datasets.stratified_split.stratified_split` for several labels and parts.
    """
    table = LabelTable.from_labels(labels, int(np.max(labels, initial=-1)) + 1)
    return tuple(stratified_split(table, [per_class], seed))


@DATASETS.register_module()
class Holdout(Selection):
    """One part of a fixed split of the data into training, validation and, if wanted, test part.

    Every class is in every part, as far as it has the images: one with a single image is in the training part. Images
    with several labels, or with boxes, are split by iterative stratification. The training part warns of classes that
    other parts lack. See :func:`ltmm.datasets.stratified_split.part_counts`.

    Args:
        dataset: Training data, or their config.
        part: ``'train'``, ``'val'`` or ``'test'``.
        per_class: Images of each class in the validation part, the same number of all; or, as a float below 1, the
            share of its images, so that the part has the class mix of the training data. At most half of them.
        seed: Seed of the split.
        lazy_init: Load and split on first use.
        test_per_class: The same for the test part. Default: no test part.
    """

    one_label_per_image = False

    def __init__(
        self,
        dataset: Any,
        part: str,
        per_class: float = 20,
        seed: int = 0,
        lazy_init: bool = False,
        test_per_class: float | None = None,
    ) -> None:
        check(part=(part, PARTS))
        if part == 'test' and test_per_class is None:
            raise InputError("Expected `test_per_class` to be set for part='test', but it is None.")
        sizes = dict(per_class=per_class) | ({} if test_per_class is None else dict(test_per_class=test_per_class))
        check_part_size(**sizes)
        self.sizes = list(sizes.values())
        self.part, self.seed = part, seed
        super().__init__(dataset, lazy_init)

    def choose(self, table: LabelTable) -> np.ndarray:
        """See :func:`ltmm.datasets.stratified_split.stratified_split`."""
        for inner in base_datasets(self.dataset):
            if getattr(inner, 'filter_cfg', None) and inner.test_mode:
                raise InputError(
                    f'The {self.part} part of ltmm.Holdout would be of another split than the training part, because '
                    'test_mode=True switches filter_cfg off. Leave out test_mode, or filter_cfg in all parts.'
                )
        parts = stratified_split(table, self.sizes, self.seed)
        if self.part == 'train':
            warn_of_missing_classes(table, parts, PARTS)
        chosen = parts[PARTS.index(self.part)]
        if not len(chosen):
            raise InputError(
                f'No image is left for the {self.part} part of {len(table)} images. A class needs one per part.'
            )
        return chosen
