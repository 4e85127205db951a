"""Where in the images the boxes of a detection dataset lie."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError, InputTypeError

from .label_table import iterate_records

__all__ = ['box_centers']


def box_centers(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Read the centers of all boxes, (M, 2), as shares of width and height, and their labels, (M,).

    Crowd regions and the repetitions of wrappers are left out.

    Args:
        dataset: A detection dataset of mmdet or ltmm in any wrappers, or its config.
    """
    dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
    boxes, sizes, labels = [], [], []
    for record in _records(dataset):
        if 'instances' not in record:
            raise InputTypeError(f'Expected a dataset of boxes, but got {type(dataset).__name__}.')
        size = record.get('width'), record.get('height')
        for instance in record['instances']:
            if instance.get('ignore_flag'):
                continue
            if not (size[0] and size[1]):
                raise InputError(
                    f'Expected `width` and `height` of each image in the annotations, but {record.get("img_path")} has '
                    'none. Add them to the annotation file.'
                )
            boxes.append(instance['bbox'])
            sizes.append(size)
            labels.append(instance['bbox_label'])
    boxes, sizes = np.asarray(boxes, float).reshape(-1, 4), np.asarray(sizes, float).reshape(-1, 2)
    return (boxes[:, :2] + boxes[:, 2:]) / 2 / sizes, np.asarray(labels, dtype=np.int64)


def _records(dataset: Any) -> Iterator[dict]:
    """Iterate over the annotation records inside all wrappers; those of a wrapper that selects samples are its own."""
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from _records(part)
    elif hasattr(dataset, 'dataset') and not hasattr(dataset, 'get_label_table'):
        yield from _records(dataset.dataset)
    else:
        yield from iterate_records(dataset)
