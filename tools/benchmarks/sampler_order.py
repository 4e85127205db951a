"""Time and memory of one epoch's order from every sampler, against MMEngine's DefaultSampler.

The data has the size of iNaturalist 2018: 437,513 images, 8,142 classes of 2 to 1,000 images, by a power law. The
samplers take turns, epoch by epoch; medians are reported. Memory is the peak while the order is made, with the list of
indices that a DataLoader gets; it is also measured on data of twice the size. Where mmdet is installed, its
ClassAwareSampler, which draws in Python loops, is timed too.
"""

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Iterable

import numpy as np
from mmengine.dataset import DefaultSampler

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATA_SAMPLERS

NUM_IMAGES, NUM_CLASSES, MAX_IMAGES, MIN_IMAGES = 437_513, 8_142, 1_000, 2
CONFIGS = {
    'ClassAwareSampler': dict(type='ltmm.ClassAwareSampler'),
    'ClassAwareSampler(1 in a row)': dict(type='ltmm.ClassAwareSampler', num_samples_per_class=1),
    'PowerSampler(0.5)': dict(type='ltmm.PowerSampler', power=0.5),
    'PowerSampler(-1)': dict(type='ltmm.PowerSampler', power=-1),
    'EffectiveNumberSampler': dict(type='ltmm.EffectiveNumberSampler'),
    'ProgressivelyBalancedSampler': dict(type='ltmm.ProgressivelyBalancedSampler', total_epochs=1000),
    'RepeatFactorSampler': dict(type='ltmm.RepeatFactorSampler', threshold=1 / NUM_CLASSES, length=NUM_IMAGES),
}


class Labels:
    """A dataset of labels alone.

    Args:
        copies: how often each image is there.
    """

    def __init__(self, copies: int = 1) -> None:
        labels = np.repeat(np.arange(NUM_CLASSES), copies * class_counts())
        np.random.default_rng(0).shuffle(labels)
        self.table = LabelTable.from_labels(labels, NUM_CLASSES)
        self.metainfo = dict(classes=[str(c) for c in range(NUM_CLASSES)])

    def __len__(self) -> int:
        return len(self.table)

    def get_label_table(self) -> LabelTable:
        """For ltmm's samplers."""
        return self.table

    def get_cat_ids(self, index: int) -> list[int]:
        """For mmdet's sampler."""
        return [int(self.table.labels[index])]


def class_counts() -> np.ndarray:
    """Images per class, (C,): a (C/k - 1) + MIN_IMAGES for the k-th class, a such that they sum to NUM_IMAGES."""
    scarcity = NUM_CLASSES / np.arange(1, NUM_CLASSES + 1) - 1
    low, high = 0.0, 1000.0
    for _ in range(60):
        middle = (low + high) / 2
        counts = np.minimum(MAX_IMAGES, middle * scarcity + MIN_IMAGES).astype(np.int64)
        low, high = (middle, high) if counts.sum() <= NUM_IMAGES else (low, middle)
    counts = np.minimum(MAX_IMAGES, low * scarcity + MIN_IMAGES).astype(np.int64)
    counts[NUM_CLASSES // 2 :][: NUM_IMAGES - counts.sum()] += 1  # what rounding down left over
    return counts


def samplers_over(dataset: Labels) -> dict[str, DefaultSampler]:
    """DefaultSampler and all of ltmm's, by name."""
    samplers = {'DefaultSampler': DefaultSampler(dataset, seed=0)}
    for name, config in CONFIGS.items():
        config = dict(config, dataset=dataset, seed=0)
        if 'length' in config:
            config['length'] = len(dataset)
        samplers[name] = DATA_SAMPLERS.build(config)
    return samplers


def milliseconds(samplers: dict[str, DefaultSampler], runs: int) -> dict[str, float]:
    """Median time of an order, by name."""
    times = {name: [] for name in samplers}
    for epoch in range(runs + 1):
        for name, sampler in samplers.items():
            sampler.set_epoch(epoch)
            start = time.perf_counter()
            order = iter(sampler)
            times[name].append(1e3 * (time.perf_counter() - start))
            del order
    return {name: statistics.median(values[1:]) for name, values in times.items()}  # the first warms up


def megabytes(samplers: Iterable[DefaultSampler]) -> list[float]:
    """Peak memory while an order is made."""
    peaks = []
    tracemalloc.start()
    for sampler in samplers:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        order = iter(sampler)
        peaks.append((tracemalloc.get_traced_memory()[1] - before) / 1e6)
        del order
    tracemalloc.stop()
    return peaks


def mmdet_milliseconds(dataset: Labels, num_samples_per_class: int) -> float | None:
    """Time of mmdet's ClassAwareSampler, once; None without mmdet."""
    try:
        from mmdet.datasets.samplers import ClassAwareSampler
    except ImportError:
        return None
    return milliseconds(dict(loop=ClassAwareSampler(dataset, 0, num_samples_per_class)), runs=1)['loop']


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=15, help='epochs of each sampler')
    runs = parser.parse_args().runs
    dataset = Labels()
    samplers = samplers_over(dataset)
    times = milliseconds(samplers, runs)
    peaks, peaks_of_twice = megabytes(samplers.values()), megabytes(samplers_over(Labels(copies=2)).values())
    print(f'{len(dataset):,} images, {NUM_CLASSES:,} classes, median of {runs} epochs')
    print(f'{"":<30} {"ms":>6} {"x Default":>9} {"peak MB":>8} {"at 2N":>6}')
    for name, peak, twice in zip(times, peaks, peaks_of_twice):
        print(
            f'{name:<30} {times[name]:>6.1f} {times[name] / times["DefaultSampler"]:>9.2f} {peak:>8.1f} {twice:>6.1f}'
        )
    loop = mmdet_milliseconds(dataset, 4)
    if loop is not None:
        print(f"mmdet's ClassAwareSampler: {loop:.0f} ms, {loop / times['ClassAwareSampler']:.0f} times ltmm's")


if __name__ == '__main__':
    main()
