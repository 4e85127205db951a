import numpy as np
import pytest

from ltmm.datasets import LabelTable
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError


class Numbers:
    metainfo = dict(classes=('a', 'b'))

    def get_label_table(self):
        return LabelTable.from_labels(np.arange(30) % 2, 2, self.metainfo['classes'])

    def __len__(self):
        return 30

    def __getitem__(self, index):
        return index


def subset(num_images, seed=0):
    part = DATASETS.build(dict(type='ltmm.RandomSubset', dataset=Numbers(), num_images=num_images, seed=seed))
    return [part[i] for i in range(len(part))]


def test_random_images_in_their_order():
    found = subset(10)
    assert len(set(found)) == 10 and found == sorted(found) and found != list(range(10))
    assert found == subset(10) != subset(10, seed=1)


def test_smaller_dataset_is_kept_whole():
    assert subset(31) == list(range(30))


def test_no_images():
    with pytest.raises(InputError, match='`num_images` to be int >= 1, but got 0'):
        subset(0)
