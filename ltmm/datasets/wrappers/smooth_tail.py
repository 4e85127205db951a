"""Smooth-tail data: of the frequent classes the best examples alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.lvis import LVISDataset
from ltmm.registry import DATASETS

from .exemplars import BoxTable, ExemplarFileError, Exemplars

__all__ = ['SmoothTailDataset']


@DATASETS.register_module()
class SmoothTailDataset(LVISDataset):
    """Keeps all of the tail, and of the head the exemplars a trained detector is surest of: classes are nearly even.

    Images are those that own a kept annotation; their other annotations are dropped. Who is head and who is tail is
    told from all training images, and so is the class distribution that losses and metrics get.

    The head classes' set of [1] is ``exemplars_per_class=(None, 100, 200, 200)`` for the classes of up to 10, 30, 100
    and more images. The sizes of its second, less even set for all classes are not published.

    [0] Dong et al., Boosting Long-tailed Object Detection via Step-wise Learning on Smooth-tail Data, ICCV 2023.
    [1] github.com/dongnana777/Long-tailed-object-detection @6609e9d, ``split_lvis_annotation*.py``.

    Args:
        *args: see :class:`LVISDataset`.
        exemplar_file: what :func:`mine_exemplars` has written for the same annotations.
        exemplars_per_class: exemplars to keep of a class, one number a group, rarest first; None for all annotations.
        group_bounds: what tells the groups apart, see :meth:`ltmm.ClassDistribution.image_groups`.
        **kwargs: see :class:`LVISDataset`.

    Raises:
        ValueError: another number of sizes than groups, or a size below 1.
        FileNotFoundError: no exemplar file.
        ExemplarFileError: exemplars of other annotations, of other categories, or fewer a class than asked for.
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
            raise ValueError(
                f'Expected `exemplars_per_class` to have {len(group_bounds) + 1} entries for the groups between '
                f'group_bounds={tuple(group_bounds)}, but got {len(exemplars_per_class)}.'
            )
        if any(number is not None and number < 1 for number in exemplars_per_class):
            raise ValueError(
                f'Expected `exemplars_per_class` to be numbers of at least 1, or None for all, but got '
                f'{tuple(exemplars_per_class)}.'
            )
        self.exemplar_file = exemplar_file
        self.exemplars_per_class, self.group_bounds = exemplars_per_class, group_bounds
        super().__init__(*args, **kwargs)

    def get_class_distribution(self) -> ClassDistribution:
        """Counts of all annotations, those that are not kept included."""
        self.full_init()
        return self._whole

    def select(self, content: dict) -> dict:
        """The kept annotations and their images, in the order of the file."""
        table = BoxTable.of(content, self.cat2label)
        self._whole = table.class_distribution(self._metainfo['classes'])
        exemplars = Exemplars.read(self.exemplar_file)
        self._check(exemplars, table)
        kept = set()
        groups = self._whole.image_groups(self.group_bounds)
        wanted = [self.exemplars_per_class[group] for group in groups]
        for cat_id, label in self.cat2label.items():
            if wanted[label] is not None:
                kept.update(exemplars.annotation_ids[cat_id][: wanted[label]])
        whole_classes = np.array([number is None for number in wanted])
        kept.update(table.ids[whole_classes[table.labels]].tolist())
        annotations = [ann for ann in content['annotations'] if ann['id'] in kept]
        owners = {ann['image_id'] for ann in annotations}
        images = [image for image in content['images'] if image['id'] in owners]
        return dict(content, annotations=annotations, images=images)

    def _check(self, exemplars: Exemplars, table: BoxTable) -> None:
        """Refuse exemplars of other data."""
        largest = max((number for number in self.exemplars_per_class if number is not None), default=0)
        if largest > exemplars.max_per_class:
            raise ExemplarFileError(
                f'Expected {self.exemplar_file} to hold {largest} exemplars a class, but it was cut to '
                f'{exemplars.max_per_class}. Mine again with a larger `max_per_class`.'
            )
        label_of = dict(zip(table.ids.tolist(), table.labels.tolist()))
        missing = [cat_id for cat_id in self.cat2label if cat_id not in exemplars.annotation_ids]
        strangers = [
            (annotation, cat_id)
            for cat_id, label in self.cat2label.items()
            for annotation in exemplars.annotation_ids.get(cat_id, ())
            if label_of.get(annotation) != label
        ]
        if missing:
            what = f'has no category {missing[0]}, and {len(missing) - 1} more are missing'
        elif strangers:
            what = (
                f'names {len(strangers)} annotations, {strangers[0][0]} as one of category {strangers[0][1]} first, '
                'that are not there, not of that category, or cannot be learnt from'
            )
        else:
            return
        raise ExemplarFileError(
            f'{self.exemplar_file} is not of {self.ann_file}: it {what}. Mine the exemplars of these data.'
        )
