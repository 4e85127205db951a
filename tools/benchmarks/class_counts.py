"""Class counts of a dataset of LVIS v1's size, once loaded, against a pass over ``get_cat_ids``."""

from collections.abc import Iterator

import numpy as np
from mmengine.dataset import BaseDataset
from pair import Pair

from ltmm.datasets import class_distribution_of
from ltmm.utils.environment import mmdet_is_usable

NUM_IMAGES, NUM_BOXES, NUM_CLASSES = 99_388, 1_270_141, 1_203


class Boxes(BaseDataset):
    """Random boxes in mmdet's layout, power-law classes."""

    METAINFO = dict(classes=tuple(str(c) for c in range(NUM_CLASSES)))

    def load_data_list(self) -> list[dict]:
        rng = np.random.default_rng(0)
        frequency = 1 / np.arange(1, NUM_CLASSES + 1) ** 1.2
        labels = rng.choice(NUM_CLASSES, NUM_BOXES, p=frequency / frequency.sum()).tolist()
        boxes = rng.random((NUM_BOXES, 4)).tolist()
        instances = [dict(ignore_flag=0, bbox=box, bbox_label=label) for box, label in zip(boxes, labels)]
        ends = np.sort(rng.integers(0, NUM_BOXES, NUM_IMAGES - 1)).tolist()
        return [
            dict(img_path=f'{i:012d}.jpg', height=480, width=640, instances=instances[start:end])
            for i, (start, end) in enumerate(zip([0, *ends], [*ends, NUM_BOXES]))
        ]

    def get_cat_ids(self, idx: int) -> list[int]:
        return [instance['bbox_label'] for instance in self.get_data_info(idx)['instances']]


def lvis_boxes() -> BaseDataset:
    """Return the same data as an ``ltmm.LVISDataset``, which keeps the labels while it loads."""
    from ltmm.datasets import LVISDataset

    class LVISBoxes(LVISDataset):
        METAINFO = Boxes.METAINFO
        load_data_list = Boxes.load_data_list

        def filter_data(self) -> list[dict]:
            return self.data_list

    return LVISBoxes(ann_file='', check_files=False)


def compare() -> Iterator[Pair]:
    dataset = Boxes()

    def reference() -> None:
        counts = np.zeros(NUM_CLASSES, dtype=np.int64)
        for i in range(len(dataset)):
            for label in set(dataset.get_cat_ids(i)):
                counts[label] += 1

    def from_records() -> None:
        dataset.get_subset_(len(dataset) - 1)  # a new dataset to ltmm, which counts each only once
        class_distribution_of(dataset)

    yield Pair('any dataset', from_records, reference, max_ratio=1)
    if mmdet_is_usable():
        lvis = lvis_boxes()
        yield Pair('ltmm.LVISDataset', lambda: class_distribution_of(lvis), reference, max_ratio=0.1)
