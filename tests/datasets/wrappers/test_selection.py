import numpy as np
from torch.utils.data import DataLoader

from ltmm.datasets import LabelTable, Selection


class Letters:
    """Ten samples."""

    metainfo = dict(classes=('a', 'b'))

    def get_label_table(self):
        return LabelTable.from_labels(np.arange(10) % 2, 2, ('a', 'b'))

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return dict(index=index)


class Batches(Letters):
    def __getitems__(self, indices):
        return dict(indices=indices)


class Last(Selection):
    """The last three samples in reverse order."""

    def choose(self, table):
        return np.array([9, 8, 7])


def batches(dataset):
    return list(DataLoader(dataset, batch_size=2, collate_fn=lambda batch: batch))


def test_getitems():
    assert batches(Last(Letters())) == [[dict(index=9), dict(index=8)], [dict(index=7)]]
    assert batches(Last(Batches())) == [dict(indices=[9, 8]), dict(indices=[7])]


def test_labels():
    dataset = Last(Letters())
    assert dataset.get_gt_labels().tolist() == [1, 0, 1]
    assert LabelTable.from_dataset(dataset).class_distribution().instance_counts.tolist() == [1, 2]
