"""The generator of CIFAR-100 mosaics, on images of twelve colors."""

import importlib.util

import numpy as np
import pytest
from toy import ROOT

from ltmm.datasets import CIFAR100Mosaics, class_distribution_of

NUM_TRAIN, NUM_TEST = 70, 20


class Colors:
    """Images of class c have red = 20 c (+ 1 in the test set) and green = the number of the image in the class."""

    def __init__(self, split, download):
        num = NUM_TRAIN if split == 'train' else NUM_TEST
        self.labels = np.tile(np.arange(12), num)
        self.shift = split == 'test'
        self.metainfo = dict(classes=[f'c{c}' for c in range(12)])

    def get_gt_labels(self):
        return self.labels

    def get_data_info(self, i):
        color = (20 * self.labels[i] + self.shift, i // 12, 0)
        return dict(img=np.full((32, 32, 3), color, dtype=np.uint8))


@pytest.fixture
def tool(monkeypatch):
    spec = importlib.util.spec_from_file_location('mosaics', ROOT / 'tools/dataset_tools/cifar100_mosaics.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, 'CIFAR100', Colors)
    return module


def generate(tool, folder, seed=0) -> dict[str, CIFAR100Mosaics]:
    folder.mkdir(exist_ok=True)
    tool.generate(str(folder), num_classes=10, max_images=60, imbalance_factor=20, seed=seed)
    options = dict(data_root=str(folder), serialize_data=False)
    return {split: CIFAR100Mosaics(split, **options) for split in ('train', 'val', 'test')}


def test_counts(tool, tmp_path):
    splits = generate(tool, tmp_path)
    counts = {split: class_distribution_of(dataset).image_counts for split, dataset in splits.items()}
    assert sorted(counts['train'])[::9] == [3, 60]
    assert set(counts['val']) == {45} and set(counts['test']) == {140}


def test_labels_and_disjoint_images(tool, tmp_path):
    splits = generate(tool, tmp_path)
    shown = {}
    for split, dataset in splits.items():
        images = np.stack([record['img'] for record in dataset.data_list])
        corners = images[:, ::32, ::32].reshape(len(images), 4, 3)
        classes = [{f'c{c}' for c in row} for row in (corners[..., 0] // 20).tolist()]
        names = dataset.metainfo['classes']
        assert classes == [{names[c] for c in dataset.get_cat_ids(i)} for i in range(len(dataset))]
        shown[split] = {tuple(pixel) for pixel in corners.reshape(-1, 3).tolist()}
    assert not shown['train'] & shown['val'] and not (shown['train'] | shown['val']) & shown['test']


def test_seed(tool, tmp_path):
    first, again, other = (generate(tool, tmp_path / name, seed) for name, seed in (('a', 0), ('b', 0), ('c', 1)))
    for split in ('train', 'test'):
        records = [[record['img'].tobytes() for record in splits[split].data_list] for splits in (first, again, other)]
        assert records[0] == records[1] and records[0] != records[2]
