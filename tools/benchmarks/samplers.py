"""One epoch's order of every sampler at the size of iNaturalist 2018 against MMEngine's ``DefaultSampler``."""

from collections.abc import Iterator
from itertools import count

import numpy as np
from mmengine.dataset import DefaultSampler
from pair import Pair
from torch.utils.data import Sampler

from ltmm.datasets import LabelTable
from ltmm.registry import DATA_SAMPLERS
from ltmm.utils.environment import mmdet_is_usable

NUM_IMAGES, NUM_CLASSES = 437_513, 8_142
CONFIGS = {
    'ClassAwareSampler': dict(type='ltmm.ClassAwareSampler'),
    'ClassAwareSampler, 1 in a row': dict(type='ltmm.ClassAwareSampler', num_samples_per_class=1),
    'PowerSampler, 0.5': dict(type='ltmm.PowerSampler', power=0.5),
    'PowerSampler, -1': dict(type='ltmm.PowerSampler', power=-1),
    'EffectiveNumberSampler': dict(type='ltmm.EffectiveNumberSampler'),
    'ProgressivelyBalancedSampler': dict(type='ltmm.ProgressivelyBalancedSampler', total_epochs=1000),
    'RepeatFactorSampler': dict(type='ltmm.RepeatFactorSampler', threshold=1 / NUM_CLASSES, length=NUM_IMAGES),
}


class Labels:
    """A dataset of labels only, 12 to 1,070 images per class."""

    metainfo = dict(classes=[str(c) for c in range(NUM_CLASSES)])

    def __init__(self) -> None:
        share = 1 / np.arange(90, NUM_CLASSES + 90)
        labels = np.random.default_rng(0).choice(NUM_CLASSES, NUM_IMAGES, p=share / share.sum())
        self.table = LabelTable.from_labels(labels, NUM_CLASSES)

    def __len__(self) -> int:
        return NUM_IMAGES

    def get_label_table(self) -> LabelTable:
        """As ltmm's samplers ask for it."""
        return self.table

    def get_cat_ids(self, index: int) -> list[int]:
        """As mmdet's sampler asks for it."""
        return [int(self.table.labels[index])]


def epochs(sampler: Sampler):
    """Return a function that makes the order of the next epoch."""
    numbers = count()

    def order() -> None:
        sampler.set_epoch(next(numbers))
        iter(sampler)

    return order


def compare() -> Iterator[Pair]:
    dataset = Labels()
    default = epochs(DefaultSampler(dataset, seed=0))
    for name, cfg in CONFIGS.items():
        yield Pair(name, epochs(DATA_SAMPLERS.build(dict(cfg, dataset=dataset, seed=0))), default, max_ratio=4)
    if mmdet_is_usable():
        from mmdet.datasets.samplers import ClassAwareSampler

        ours = DATA_SAMPLERS.build(dict(type='ltmm.ClassAwareSampler', dataset=dataset, seed=0))
        theirs = ClassAwareSampler(dataset, seed=0, num_sample_class=4)
        yield Pair("ClassAwareSampler, against mmdet's", epochs(ours), epochs(theirs), max_ratio=1)
