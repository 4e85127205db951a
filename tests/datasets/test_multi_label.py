"""Multi-label data from annotations to targets, through the configs of the benchmarks."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, default_collate
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from toy import ROOT, toy_config

from ltmm.datasets.labels.label_states import ImageLabels
from ltmm.datasets.multi_label import MultiLabelDataset
from ltmm.registry import DATASETS, MODELS, TRANSFORMS

STATES = np.array([[1, 0, -1], [0, 0, 0], [-1, 1, 1], [0, 1, 0]] * 8, np.int8)
CONFIGS = ('coco_mlt', 'voc_mlt', 'cifar100_mosaics', 'lvis_mini_multi_label')


@DATASETS.register_module()
class ToyPartialLabels(MultiLabelDataset):
    """Random images with the labels of STATES; with ``known``, unknown labels are negative."""

    def __init__(self, known=False, **kwargs):
        self.states = np.maximum(STATES, 0) if known else STATES
        super().__init__('', check_files=False, **kwargs)

    def read_labels(self):
        return ImageLabels([f'{i}.png' for i in range(len(self.states))], ('ant', 'bee', 'cow'), self.states)

    def get_data_info(self, idx):
        image = np.random.default_rng(idx).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return dict(super().get_data_info(idx), img=image)


@pytest.mark.parametrize('name', CONFIGS)
def test_pipelines(name):
    cfg = Config.fromfile(ROOT / f'configs/_base_/datasets/{name}.py')
    size = 64 if name == 'cifar100_mosaics' else 224
    score = np.array([1, 0, -1], dtype=np.float32)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        for loader, shape in ((cfg.train_dataloader, (300, 260)), (cfg.test_dataloader, (90, 400))):
            dataset = loader.dataset.get('dataset', loader.dataset)
            steps = [step for step in dataset.pipeline if step.type != 'LoadImageFromFile']
            pipeline = Compose([TRANSFORMS.build(step) for step in steps])
            shape = (64, 64) if size == 64 else shape
            image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
            batch = default_collate([pipeline(dict(img=image, gt_score=score)) for _ in range(4)])
            data = MODELS.build(dict(type='ClsDataPreprocessor', **{**cfg.data_preprocessor, 'num_classes': 3}))(batch)
            assert data['inputs'].shape == (4, 3, size, size)
            assert all(sample.gt_score.tolist() == [1, 0, -1] for sample in data['data_samples'])
            assert all('gt_label' not in sample for sample in data['data_samples'])


def training(tmp_path, loss, dataset) -> Runner:
    head = dict(_delete_=True, type='ltmm.MultiLabelClsHead', num_classes=3, in_channels=8, loss=loss)
    config = toy_config(tmp_path, **{'model.head': head, 'train_dataloader.dataset': dict(_delete_=True, **dataset)})
    config.val_dataloader = config.val_cfg = config.val_evaluator = None
    config.train_cfg.max_epochs = 1
    config.default_hooks.checkpoint = dict(type='CheckpointHook', interval=-1)
    return Runner.from_cfg(config)


def partial(**options) -> dict:
    pipeline = [dict(type='PackInputs')]
    return dict(type='ltmm.PartialLabels', dataset=dict(type='ltmm.ToyPartialLabels', pipeline=pipeline, **options))


@pytest.mark.slow
@pytest.mark.parametrize(
    'loss, dataset',
    [
        (dict(type='ltmm.MultiLabelBCELoss'), dict(partial(known=True), missing_rate=0.5)),
        (dict(type='ltmm.PartialASLLoss', mode='ignore'), dict(partial(), missing_rate=0.5, unknown_as='unknown')),
    ],
)
def test_partial_labels_reach_loss_and_counts(tmp_path, loss, dataset):
    runner = training(tmp_path, loss, dataset)
    seen = []
    runner.model.head.loss_module.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    runner.train()
    states = runner.train_dataloader.dataset.states
    order = np.lexsort(torch.cat(seen).numpy().T), np.lexsort(states.T)
    assert (torch.cat(seen).numpy()[order[0]] == states[order[1]]).all()
    counts = runner.model.state_dict()['head.class_distribution.instance_counts']
    assert counts.tolist() == (states == 1).sum(axis=0).tolist()


def test_records():
    dataset = ToyPartialLabels()
    assert dataset.get_data_info(2)['gt_score'].dtype == np.float32
    assert dataset.get_cat_ids(2) == [1, 2] and dataset.get_cat_ids(1) == []
    assert (np.stack([dataset.get_data_info(i)['gt_score'] for i in range(len(dataset))]) == STATES).all()


@pytest.mark.skipif(not (ROOT / 'data/lvis_mini').is_dir(), reason='the 60-photo LVIS set is not in data/lvis_mini')
def test_real_photos(monkeypatch):
    monkeypatch.chdir(ROOT)
    cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/lvis_mini_multi_label.py')
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        sample = dataset[0]
    assert sample['inputs'].shape == (3, 224, 224)
    assert torch.equal(sample['data_samples'].gt_score, torch.from_numpy(dataset.get_data_info(0)['gt_score']))
