import pytest
from toy import ToyImages

from ltmm.datasets import OpenSet
from ltmm.registry import DATASETS

PIPELINE = [dict(type='mmpretrain.PackInputs', meta_keys=('sample_idx',))]
KNOWN = dict(type='ltmm.ToyImages', counts=(2, 1), pipeline=PIPELINE)
UNKNOWN = dict(type='ltmm.ToyImages', counts=(1, 1, 1), pipeline=PIPELINE)


@pytest.mark.parametrize('lazy_init', [False, True])
def test_images_of_unknown_classes_follow_with_label_minus_one(lazy_init):
    dataset = DATASETS.build(dict(type='ltmm.OpenSet', dataset=KNOWN, unknown=UNKNOWN, lazy_init=lazy_init))
    items = [dataset[i] for i in range(len(dataset))]
    assert [item['data_samples'].gt_label.item() for item in items] == [0, 0, 1, -1, -1, -1]
    assert [item['data_samples'].sample_idx for item in items] == [0, 1, 2, 0, 1, 2]
    assert items[3]['inputs'].equal(DATASETS.build(UNKNOWN)[0]['inputs'])
    assert dataset.metainfo['classes'] == ('class 0', 'class 1')


def test_datasets_as_objects():
    assert len(OpenSet(ToyImages((2, 1), pipeline=[]), ToyImages((4,), pipeline=[]))) == 7
