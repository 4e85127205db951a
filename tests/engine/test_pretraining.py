"""Pre-training as the first stage of a training: what is handed on, resume, half precision, two ranks, no labels."""

from functools import partial

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from PIL import Image
from toy import ToyImages, toy_config
from toy_training import stop_and_resume, train_on_two_ranks

from ltmm.engine.stages import first_to_run, read_stages, run_stages
from ltmm.registry import DATASETS
from ltmm.utils.parsers import common_parser

FLIP = dict(type='RandomFlip', prob=0.5)
PACK = dict(type='PackInputs', meta_keys=('sample_idx',))


@DATASETS.register_module()
class UnlabeledToyImages(ToyImages):
    """The same images without labels and names of classes."""

    def __init__(self, **kwargs):
        super().__init__(metainfo=dict(classes=None), **kwargs)

    def load_data_list(self):
        return [dict(img=record['img']) for record in super().load_data_list()]


def pretraining(work_dir, method, labeled=True, **overrides):
    """The config of a pre-training; 64 images are 8 batches."""
    cfg = toy_config(work_dir, **{'train_cfg.max_epochs': 2, **overrides})
    for split in ('val', 'test'):
        for part in ('dataloader', 'evaluator', 'cfg'):
            cfg[f'{split}_{part}'] = None
    if method == 'moco':
        contrast = dict(type='ltmm.MomentumContrastLoss', in_channels=8, feat_dim=4, queue_size=50)
        cfg.model.type, cfg.model.head = 'ltmm.MomentumClassifier', dict(type='ltmm.PretrainHead', loss=contrast)
        cfg.model.data_preprocessor.type = 'ltmm.MultiViewDataPreprocessor'
        cfg.train_dataloader.dataset.pipeline = [dict(type='MultiView', num_views=[2], transforms=[[FLIP]]), PACK]
    else:
        cfg.model.type = 'ltmm.RotationPretrainer'
        cfg.model.head = dict(type='LinearClsHead', num_classes=4, in_channels=8)
        cfg.model.data_preprocessor.type = 'ClsDataPreprocessor'
    if not labeled:
        cfg.train_dataloader.dataset.type = 'ltmm.UnlabeledToyImages'
        cfg.custom_imports.imports = ['toy', __name__]
    return cfg


def state(path):
    return torch.load(path, weights_only=True)['state_dict']


@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'ltmm.CPUAmpOptimWrapper'])
@pytest.mark.parametrize('method', ['moco', 'rotation'])
def test_resume_equals_never_stopped(tmp_path, method, wrapper):
    options = {'optim_wrapper.type': wrapper}
    Runner.from_cfg(pretraining(tmp_path / 'straight', method, **options)).train()
    stop_and_resume(partial(pretraining, tmp_path / 'stopped', method, **options), at_iter=12)
    straight, resumed = (state(tmp_path / name / 'epoch_2.pth') for name in ('straight', 'stopped'))
    torch.testing.assert_close(resumed, straight, rtol=0, atol=0)
    if method == 'moco':
        assert straight['head.loss_module.queue.num_filled'] == 50


@pytest.mark.parametrize('method', ['moco', 'rotation'])
def test_images_need_no_labels(tmp_path, method):
    Runner.from_cfg(pretraining(tmp_path, method, labeled=False)).train()
    checkpoint = torch.load(tmp_path / 'epoch_2.pth', weights_only=True)
    assert not checkpoint['meta']['class_distribution']['instance_counts'].numel()
    labeled = pretraining(tmp_path / 'labeled', method, experiment_name='labeled')
    Runner.from_cfg(labeled).train()
    without, with_labels = checkpoint['state_dict'], state(tmp_path / 'labeled/epoch_2.pth')
    for name, value in without.items():  # labels play no part
        if 'class_distribution' not in name and not name.endswith('queue.labels'):
            assert torch.equal(value, with_labels[name]), name


def test_photos_in_folders(tmp_path):
    for i in range(16):
        (tmp_path / f'photos/{i % 3}/deep').mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.randint(0, 255, (8, 8, 3), dtype=np.uint8)).save(
            tmp_path / f'photos/{i % 3}/deep/{i}.png'
        )
    cfg = pretraining(tmp_path / 'work', 'moco', **{'train_cfg.max_epochs': 1})
    pipeline = [dict(type='LoadImageFromFile'), *cfg.train_dataloader.dataset.pipeline]
    folder = dict(type='ltmm.CustomDataset', data_root=str(tmp_path / 'photos'), with_label=False, pipeline=pipeline)
    cfg.train_dataloader.dataset = folder
    Runner.from_cfg(cfg).train()
    assert state(tmp_path / 'work/epoch_1.pth')['head.loss_module.queue.num_filled'] == 16


def staged(tmp_path, method, second, *options):
    """Run a pre-training, then a training by its own config, which knows of no stages."""
    pretraining(tmp_path / 'unused', method).dump(tmp_path / 'first.py')
    second.dump(tmp_path / 'second.py')
    stages = [dict(type='ltmm.PretrainStage', config=str(tmp_path / 'first.py'))]
    stages += [dict(type='ltmm.TrainStage', config=str(tmp_path / 'second.py'))]
    second.stages = stages
    second.dump(tmp_path / 'staged.py')
    Visualizer._instance_dict.clear()  # runs within one second share a name
    args = [str(tmp_path / 'staged.py'), '--work-dir', str(tmp_path / 'work')]
    stages = read_stages(common_parser('').parse_args([*args, *(['--cfg-options', *options] if options else [])]))
    return run_stages(stages, first_to_run(stages))


@pytest.mark.parametrize('method', ['moco', 'rotation'])
def test_backbone_and_its_statistics_are_handed_on_and_nothing_else(tmp_path, method):
    second = toy_config(tmp_path / 'unused', **{'train_cfg.max_epochs': 1, 'optim_wrapper.optimizer.lr': 0.0})
    second.model.head.num_classes = second.model.data_preprocessor.num_classes = 4  # as many as rotations
    second.train_dataloader.dataset.counts = second.val_dataloader.dataset.counts = (9, 5, 3, 2)
    second.test_dataloader.dataset.counts = (9, 5, 3, 2)
    second.custom_hooks.append(dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=True))
    last = state(staged(tmp_path, method, second))
    first = state(tmp_path / 'work/stage1_first/epoch_2.pth')
    backbone = [name for name in last if name.startswith('backbone.')]
    assert backbone == [name for name in first if name.startswith('backbone.')]
    assert any('running_var' in name for name in backbone) and all(torch.equal(last[n], first[n]) for n in backbone)
    if method == 'rotation':
        assert last['head.fc.weight'].shape == first['head.fc.weight'].shape
        assert not torch.equal(last['head.fc.weight'], first['head.fc.weight'])


def test_first_stage_may_be_given(tmp_path):
    """A checkpoint from elsewhere is cut to the backbone, too."""
    Runner.from_cfg(pretraining(tmp_path / 'elsewhere', 'rotation')).train()
    pretraining(tmp_path / 'unused', 'rotation').dump(tmp_path / 'first.py')
    second = toy_config(tmp_path / 'unused', **{'train_cfg.max_epochs': 1})
    second.stages = [dict(type='ltmm.PretrainStage', config=str(tmp_path / 'first.py')), dict(type='ltmm.TrainStage')]
    second.dump(tmp_path / 'second.py')
    args = common_parser('').parse_args([str(tmp_path / 'second.py'), '--work-dir', str(tmp_path / 'work')])
    stages, given = read_stages(args), tmp_path / 'elsewhere/epoch_2.pth'
    hooks = [hook for hook in stages[1].cfg.custom_hooks if hook.type == 'ltmm.LoadPartsHook']
    assert [hook.prefixes for hook in hooks] == [['backbone']]
    Visualizer._instance_dict.clear()
    assert run_stages(stages, first_to_run(stages, given), given) == tmp_path / 'work/stage2_second/epoch_1.pth'


@pytest.mark.slow
@pytest.mark.parametrize('method', ['moco', 'rotation'])
def test_trains_on_two_processes(tmp_path, method):
    cfg = pretraining(tmp_path / 'two', method, **{'train_cfg.max_epochs': 1})
    train_on_two_ranks(cfg)
    checkpoint = torch.load(tmp_path / 'two/epoch_1.pth', weights_only=True)
    assert checkpoint['meta']['iter'] == 4
    if method == 'moco':  # keys of both ranks
        assert checkpoint['state_dict']['head.loss_module.queue.num_filled'] == 50
