"""Smooth-tail data: all instances of rare classes, selected exemplars of frequent ones."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.lvis import LVISDataset
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .exemplars import BoxTable, ExemplarFileError, Exemplars

__all__ = ['SmoothTailDataset']


@DATASETS.register_module()
class SmoothTailDataset(LVISDataset):
    """LVIS data that keep only the exemplars of frequent classes, so that the classes are nearly balanced.

    Images without a kept annotation are dropped. The groups of classes and the class distribution given to losses and
    metrics are those of all training images.

    The head-class data of [1] are ``exemplars_per_class=(None, 100, 200, 200)``. The sizes of its second set, of all
    classes, are not published.

    References:
        [0] Dong et al., Boosting Long-tailed Object Detection via Step-wise Learning on Smooth-tail Data, ICCV 2023.
        [1] github.com/dongnana777/Long-tailed-object-detection @6609e9d, ``split_lvis_annotation*.py``.

    Args:
        *args: See :class:`LVISDataset`.
        exemplar_file: File that :func:`mine_exemplars` wrote for the same annotations.
        exemplars_per_class: Exemplars to keep per class, one number per group, rarest group first; None keeps all
            annotations.
        group_bounds: See :meth:`ltmm.ClassDistribution.image_groups`.
        **kwargs: See :class:`LVISDataset`.
    """

    def __init__(
        self,
        *args: Any,
        exemplar_file: str,
        exemplars_per_class: Sequence[int | None],
        group_bounds: Sequence[int] = (10, 30, 100),
        **kwargs: Any,
    ) -> None:
        if len(exemplars_per_class) != len(group_bounds) + 1:
            raise InputError(
                f'Expected one number of `exemplars_per_class` per group, {len(group_bounds) + 1} in all, but got '
                f'{len(exemplars_per_class)}.'
            )
        for number in exemplars_per_class:
            check(exemplars_per_class=(number, 'int >= 1 or None'))
        self.exemplar_file = exemplar_file
        self.exemplars_per_class, self.group_bounds = exemplars_per_class, group_bounds
        super().__init__(*args, **kwargs)

    def get_class_distribution(self) -> ClassDistribution:
        """Count all annotations, kept or not."""
        self.full_init()
        return self._distribution

    def select(self, content: dict) -> dict:
        """Return the kept annotations and their images, in the order of the file."""
        table = BoxTable.of(content, self.cat2label)
        self._distribution = table.class_distribution(self._metainfo['classes'])
        limits = [self.exemplars_per_class[group] for group in self._distribution.image_groups(self.group_bounds)]
        exemplars = self._read_exemplars(table)
        keeps_all = np.array([limit is None for limit in limits])
        kept = set(table.ids[keeps_all[table.labels]].tolist())
        for cat_id, label in self.cat2label.items():
            if limits[label] is not None:
                kept.update(exemplars.annotation_ids[cat_id][: limits[label]])
        annotations = [ann for ann in content['annotations'] if ann['id'] in kept]
        image_ids = {ann['image_id'] for ann in annotations}
        images = [image for image in content['images'] if image['id'] in image_ids]
        return dict(content, annotations=annotations, images=images)

    def _read_exemplars(self, table: BoxTable) -> Exemplars:
        """Read the exemplar file and check that it belongs to this annotation file."""
        exemplars = Exemplars.read(self.exemplar_file)
        largest = max((number for number in self.exemplars_per_class if number is not None), default=0)
        if largest > exemplars.max_per_class:
            raise ExemplarFileError(
                f'{self.exemplar_file} has at most {exemplars.max_per_class} exemplars per class, but {largest} are '
                'needed. Mine again with a larger `max_per_class`.'
            )
        label_of = dict(zip(table.ids.tolist(), table.labels.tolist()))
        for cat_id, label in self.cat2label.items():
            if cat_id not in exemplars.annotation_ids:
                problem = f'category {cat_id} is missing'
            elif unknown := [i for i in exemplars.annotation_ids[cat_id] if label_of.get(i) != label]:
                problem = f'annotation {unknown[0]} is not a training box of category {cat_id}'
            else:
                continue
            raise ExemplarFileError(
                f'{self.exemplar_file} does not belong to {self.ann_file}: {problem}. Mine the exemplars of these data.'
            )
        return exemplars
