"""Time to count the classes of a dataset of LVIS v1's size, after loading, against MMEngine's way.

99,388 images and 1.27 M boxes of 1,203 classes in a serialised dataset of MMEngine. MMEngine's ClassBalancedDataset
counts by ``get_cat_ids``, image by image. Where mmdet is installed, ``ltmm.LVISDataset`` is timed too, which puts the
labels aside while it loads.
"""

import argparse
import statistics
import time

import numpy as np
from mmengine.dataset import BaseDataset

from ltmm.datasets import class_distribution_of
from ltmm.utils.environment import mmdet_is_usable

NUM_IMAGES, NUM_BOXES, NUM_CLASSES = 99_388, 1_270_141, 1_203


class Boxes(BaseDataset):
    """Random boxes, classes by a power law, in mmdet's layout."""

    METAINFO = dict(classes=tuple(str(c) for c in range(NUM_CLASSES)))

    def load_data_list(self) -> list[dict]:
        """One record an image."""
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
        """As mmdet's datasets do it."""
        return [instance['bbox_label'] for instance in self.get_data_info(idx)['instances']]


def lvis_boxes() -> BaseDataset:
    """The same data in an ``ltmm.LVISDataset``."""
    from ltmm.datasets.lvis import LVISDataset

    class LVISBoxes(LVISDataset):
        METAINFO = Boxes.METAINFO
        load_data_list = Boxes.load_data_list

        def filter_data(self) -> list[dict]:
            return self.data_list

    return LVISBoxes(ann_file='', check_files=False)


def seconds_of_lvis_dataset(dataset: BaseDataset) -> float:
    """Time of the class distribution, from the labels the dataset kept."""
    start = time.perf_counter()
    class_distribution_of(dataset)
    return time.perf_counter() - start


def seconds_of_ltmm(dataset: Boxes) -> float:
    """Time of the class distribution."""
    dataset.get_subset_(len(dataset) - 1)  # ltmm reads the same annotations only once
    start = time.perf_counter()
    class_distribution_of(dataset)
    return time.perf_counter() - start


def seconds_of_mmengine(dataset: Boxes) -> float:
    """Time of the loop over ``get_cat_ids``."""
    start = time.perf_counter()
    counts = np.zeros(NUM_CLASSES, dtype=np.int64)
    for i in range(len(dataset)):
        for label in set(dataset.get_cat_ids(i)):
            counts[label] += 1
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=5, help='countings, of which the median is reported')
    runs = parser.parse_args().runs
    dataset = Boxes()
    pairs = [(seconds_of_ltmm(dataset), seconds_of_mmengine(dataset)) for _ in range(runs)]
    ours, theirs = (statistics.median(values) for values in zip(*pairs))
    print(f'{NUM_IMAGES:,} images, {NUM_BOXES:,} boxes, {NUM_CLASSES:,} classes, median of {runs}')
    print(f'ltmm {ours:.2f} s, get_cat_ids {theirs:.2f} s, ratio {ours / theirs:.2f}')
    if mmdet_is_usable():
        dataset = lvis_boxes()
        kept = statistics.median(seconds_of_lvis_dataset(dataset) for _ in range(runs))
        print(f'ltmm.LVISDataset {kept:.2f} s, ratio {kept / theirs:.3f}')


if __name__ == '__main__':
    main()
