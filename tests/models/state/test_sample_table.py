import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmpretrain.registry import TRANSFORMS
from mmpretrain.structures import DataSample

from ltmm.models.state import SampleTable, sample_indices


def test_the_last_value_of_a_sample_counts():
    table = SampleTable(5, 2)
    rows = torch.tensor([3, 0, 3, 3, 0])
    table.write(rows, torch.arange(10.0).reshape(5, 2))
    assert table.read(torch.tensor([0, 3, 1])).tolist() == [[8, 9], [6, 7], [0, 0]]


def test_what_was_read_stays_after_a_write():
    table = SampleTable(2, fill=1.0)
    weight, score = table.read(torch.tensor([0, 1])), torch.ones(2, requires_grad=True)
    loss = (weight * score).sum()
    table.write(torch.tensor([0]), torch.tensor([7.0]))
    loss.backward()
    assert score.grad.tolist() == [1, 1]


def test_resize_keeps_values_and_a_checkpoint_brings_the_size():
    table = SampleTable(0, fill=-1, dtype=torch.int64)
    table.resize(3)
    table.write(torch.tensor([2]), torch.tensor([5]))
    fresh = SampleTable(0, fill=-1, dtype=torch.int64)
    fresh.load_state_dict(table.state_dict())
    fresh.resize(4)
    assert fresh.values.tolist() == [-1, -1, 5, -1]
    with pytest.raises(RuntimeError, match='size mismatch'):
        SampleTable(2, dtype=torch.int64).load_state_dict(table.state_dict())


def test_sample_indices_of_single_and_joint_data_samples():
    samples = [DataSample(metainfo=dict(sample_idx=i)) for i in (4, [1, 0], 2)]
    assert sample_indices(samples).tolist() == [4, 1, 0, 2]
    assert sample_indices([DataSample()]) is None


def test_several_views_of_an_image_keep_its_index():
    view = [dict(type='RandomFlip', prob=0.5)]
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        views = TRANSFORMS.build(dict(type='MultiView', num_views=[2], transforms=[view]))
        pack = TRANSFORMS.build(dict(type='PackInputs'))
    sample = pack(views(dict(img=np.zeros((4, 4, 3), np.uint8), gt_label=1, sample_idx=7)))['data_samples']
    assert sample_indices([sample]).tolist() == [7]
