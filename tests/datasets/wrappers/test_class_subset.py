import numpy as np
import pytest
from mmpretrain.structures import DataSample
from torch.utils.data import DataLoader

from ltmm.datasets import ClassSubset, LabelTable, class_distribution_of
from ltmm.utils.errors import InputError

COUNTS = [20, 120, 60, 4, 100, 21]
NAMES = ('a', 'b', 'c', 'd', 'e', 'f')
GROUPS = dict(many=[1, 4], medium=[2, 5], few=[0, 3])


class Numbers:
    """``counts[c]`` samples of class c."""

    def __init__(self, counts=COUNTS):
        self.labels = np.repeat(np.arange(len(counts)), counts)
        self.metainfo = dict(classes=NAMES[: len(counts)])

    def get_label_table(self):
        return LabelTable.from_labels(self.labels, len(self.metainfo['classes']), self.metainfo['classes'])

    def get_data_info(self, index):
        return dict(gt_label=int(self.labels[index]), sample_idx=index)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        sample = DataSample(metainfo=dict(sample_idx=index)).set_gt_label(int(self.labels[index]))
        return dict(inputs=index, data_samples=sample)


@pytest.mark.parametrize('group', GROUPS)
def test_classes_of_a_group(group):
    dataset = ClassSubset(Numbers(), group)
    classes = GROUPS[group]
    assert dataset.classes.tolist() == classes
    assert dataset.metainfo['classes'] == [NAMES[c] for c in classes]
    distribution = class_distribution_of(dataset)
    assert distribution.instance_counts.tolist() == [COUNTS[c] for c in classes]
    assert distribution.class_names == tuple(NAMES[c] for c in classes)
    for i in range(len(dataset)):
        sample, record = dataset[i]['data_samples'], dataset.get_data_info(i)
        assert classes[sample.gt_label] == Numbers().labels[sample.sample_idx]  # the index of the whole dataset
        assert int(sample.gt_label) == record['gt_label'] == dataset.get_gt_labels()[i] == dataset.get_cat_ids(i)[0]


def test_batches():
    dataset = ClassSubset(Numbers(), 'few')
    (batch,) = DataLoader(dataset, batch_size=len(dataset), collate_fn=list)
    assert [int(item['data_samples'].gt_label) for item in batch] == [0] * 20 + [1] * 4


def test_groups_of_the_training_data():
    balanced = Numbers([2] * 6)
    dataset = ClassSubset(balanced, 'many', counts_of=Numbers(), thresholds=(60, 20))
    assert dataset.classes.tolist() == [1, 2, 4] and len(dataset) == 6
    by_rank = ClassSubset(balanced, 'many', counts_of=Numbers(), thresholds=dict(rank=(3, 0)))
    assert by_rank.classes.tolist() == [1, 2, 4]
    with pytest.raises(InputError, match='no many-shot class'):
        ClassSubset(balanced, 'many')
    with pytest.raises(InputError, match='`counts_of` to have 6 classes, but got 3'):
        ClassSubset(balanced, 'many', counts_of=Numbers([200, 50, 5]))
    with pytest.raises(InputError, match='`thresholds` to be two numbers'):
        ClassSubset(balanced, 'many', thresholds=(100,))
    with pytest.raises(InputError, match='`group`'):
        ClassSubset(balanced, 'all')
