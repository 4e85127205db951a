import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from toy import ToyImages
from toy_semi import semi_config

from ltmm.datasets import LabelTable, class_distribution_of
from ltmm.datasets.wrappers.semi_split import SemiSplit
from ltmm.datasets.wrappers.semi_supervised import SemiSupervised, semi_supervised_collate
from ltmm.registry import DATASETS


class Empty:
    def full_init(self):
        pass

    def __len__(self):
        return 0


@pytest.fixture
def dataset(tmp_path):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        cfg = semi_config(tmp_path).train_dataloader.dataset
        cfg.unlabeled.counts = (2, 3, 4)
        yield DATASETS.build(cfg)


def test_unlabeled_samples_carry_no_label(dataset):
    assert dataset.sizes == [64, 9] and len(dataset) == 73
    for idx in (63, 64, 72):
        sample, record = dataset[idx]['data_samples'], dataset.get_data_info(idx)
        assert sample.sample_idx == record['sample_idx'] == idx
        assert ('gt_label' in sample) == ('gt_label' in record) == (idx < 64)
    assert not any(key.startswith('gt_') for key in dataset[70]['data_samples'].all_keys())


def test_transforms_of_unlabeled_images_see_no_label(dataset):
    seen = []
    for part in dataset.datasets:
        part.pipeline.transforms.insert(0, lambda results: seen.append('gt_label' in results) or results)
    assert dataset[63] and dataset[64]
    assert seen == [True, False]


def test_true_labels_are_for_reports(dataset):
    assert dataset.true_labels[64:].tolist() == [0] * 2 + [1] * 3 + [2] * 4
    unknown = ToyImages(counts=(2, 3, 4), pipeline=[])
    unknown.metainfo.pop('classes', None)
    unknown.load_data_list = lambda: [dict(img=np.zeros((8, 8, 3)))] * 5
    unknown._fully_initialized = False
    unknown.full_init()
    assert SemiSupervised(dataset.datasets[0], unknown).true_labels[64:].tolist() == [-1] * 5


def test_counts_are_of_the_labeled_images(dataset):
    assert class_distribution_of(dataset).image_counts.tolist() == [40, 16, 8]
    table = LabelTable.from_dataset(dataset)
    assert len(table) == 73 and len(table.labels) == 64
    assert table.class_distribution().image_counts.tolist() == [40, 16, 8]
    assert table.class_distribution().num_images == 64


def test_collate_keeps_the_parts_apart(dataset):
    batch = semi_supervised_collate([dataset[i] for i in (0, 64, 1, 65, 66)])
    assert [len(views) for views in batch['inputs'].values()] == [1, 3]
    assert [tuple(view.shape) for view in batch['inputs']['unlabeled']] == [(3, 3, 8, 8)] * 3
    assert [sample.sample_idx for sample in batch['data_samples']['unlabeled']] == [64, 65, 66]
    assert torch.equal(batch['inputs']['labeled'][0].shape and batch['inputs']['labeled'][0][0], dataset[0]['inputs'])


def test_bad_input(dataset):
    with pytest.raises(ValueError, match="labeled images of every class, but 1 of 3 have none, 'class 1' first"):
        SemiSupervised(ToyImages(counts=(2, 0, 1), pipeline=[]), dataset.datasets[1])
    with pytest.raises(ValueError, match='expected unlabeled images, but got none'):
        SemiSupervised(dataset.datasets[0], Empty())
    parts = [
        SemiSplit(dataset.datasets[0], part, max_labeled=4, imbalance_factor=1, max_unlabeled=4, seed=seed)
        for part, seed in (('labeled', 0), ('unlabeled', 1))
    ]
    with pytest.raises(ValueError, match='both parts to be of one split, but .* set `max_labeled`'):
        SemiSupervised(*parts)
    with pytest.raises(ValueError, match="expected part='labeled' of `labeled`, but got 'unlabeled'"):
        SemiSupervised(*parts[::-1])
    unpacked = SemiSupervised(dataset.datasets[0], ToyImages(counts=(2, 3, 4), pipeline=[]))
    with pytest.raises(ValueError, match='end in PackInputs'):
        unpacked[64]
    batch = [dataset[64], dataset[65]]
    batch[1]['inputs'] = batch[1]['inputs'][:2]
    with pytest.raises(ValueError, match='same number of views of all unlabeled images'):
        semi_supervised_collate(batch)
