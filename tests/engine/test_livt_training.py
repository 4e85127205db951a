"""LiVT in two stages by the shipped configs, with a smaller network on toy images."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.visualization import Visualizer
from toy import ROOT, StopHook, Stopped, ToyImages

from ltmm.engine.stages import first_to_run, read_stages, run_stages
from ltmm.registry import DATASETS
from ltmm.utils.launch import build_runner
from ltmm.utils.parsers import common_parser

CONFIG = """
_base_ = '{root}/configs/cifar100_lt/livt_vit-tiny-p4{step}.py'
custom_imports = dict(imports=['toy'])
pipeline = [dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=16, num_workers=0, dataset=dict(_delete_=True, type='ltmm.ToyImages', pipeline=pipeline)
)
arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
optim_wrapper = dict(type='ltmm.CPUAmpOptimWrapper')
param_scheduler = [dict(type='CosineAnnealingLR')]
train_cfg = dict(max_epochs=2)
"""
MAE = """
model = dict(backbone=dict(arch=arch, img_size=8), neck=dict(num_patches=4, embed_dim=16, decoder_embed_dim=8))
"""
LIVT = """
stages = [dict(type='ltmm.TrainStage', config='{folder}/mae.py'), dict(type='ltmm.TrainStage')]
data_preprocessor = dict(num_classes=3)
model = dict(backbone=dict(arch=arch, img_size={size}), head=dict(in_channels=16, num_classes=3))
test_set = dict(_delete_=True, type='ltmm.ToyImages', pipeline=[dict(type='PackInputs')])
val_dataloader = test_dataloader = dict(num_workers=0, dataset=test_set)
"""


@DATASETS.register_module()
class ToyUnlabeled(ToyImages):
    """Images without labels; those after ``broken`` are not finite."""

    def __init__(self, broken=1000, **kwargs):
        self.broken = broken
        super().__init__(**kwargs)

    def load_data_list(self):
        images = [record['img'] for record in super().load_data_list()]
        return [dict(img=img if i < self.broken else np.full(img.shape, np.nan)) for i, img in enumerate(images)]


@pytest.fixture
def config(tmp_path):
    write(tmp_path)
    return tmp_path / 'livt.py'


def write(folder, size=8):
    for name, step, own in (('mae', '_mae', MAE), ('livt', '', LIVT)):
        text = CONFIG.format(root=ROOT, step=step) + own.format(folder=folder, size=size)
        (folder / f'{name}.py').write_text(text)


def run(config, work_dir, *options):
    Visualizer._instance_dict.clear()  # runs within one second share a name
    args = ['--work-dir', str(work_dir)] + (['--cfg-options', *options] if options else [])
    stages = read_stages(common_parser('').parse_args([str(config), *args]))
    return run_stages(stages, first_to_run(stages))


def state(path):
    return torch.load(path, weights_only=True)['state_dict']


@pytest.mark.parametrize('size', [8, pytest.param(16, marks=pytest.mark.slow)])
def test_fine_tuning_starts_from_the_encoder(tmp_path, size):
    write(tmp_path, size)
    still = ['stage2.optim_wrapper.optimizer.lr=0.0', 'stage2.val_dataloader=None', 'stage2.val_cfg=None']
    last = run(tmp_path / 'livt.py', tmp_path / 'work', *still, 'stage2.val_evaluator=None')
    encoder, start = state(tmp_path / 'work/stage1_mae/epoch_2.pth'), state(last)
    same = [n for n in start if n.startswith('backbone.') and n in encoder]
    for name in same:
        if name == 'backbone.pos_embed' and size == 16:
            assert start[name].shape == (1, 17, 16)
            assert torch.equal(start[name][:, 0], encoder[name][:, 0])
        else:
            assert torch.equal(start[name], encoder[name])
    assert len(same) == len([n for n in start if n.startswith('backbone.')]) - 2  # a new norm after the mean


@pytest.mark.slow
@pytest.mark.parametrize('stage', [1, 2])
def test_resume_in_any_stage_is_exact(config, tmp_path, stage, monkeypatch):
    straight = run(config, tmp_path / 'straight')

    def build(cfg):
        runner = build_runner(cfg)
        if f'stage{stage}_' in cfg.work_dir:
            runner.register_hook(StopHook(6))  # in the second epoch
        return runner

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr('ltmm.engine.stages.train_stage.build_runner', build)
        run(config, tmp_path / 'stopped')
    resumed = run(config, tmp_path / 'stopped')
    torch.testing.assert_close(state(resumed), state(straight), rtol=0, atol=0)


def unlabeled(config, tmp_path, **dataset):
    cfg = Config.fromfile(config)
    cfg.train_dataloader.dataset.update(type='ltmm.ToyUnlabeled', **dataset)
    cfg.work_dir = str(tmp_path / config.stem)
    cfg.default_hooks.logger = None
    return build_runner(cfg)


def test_pre_training_needs_no_labels(config, tmp_path):
    Visualizer._instance_dict.clear()
    unlabeled(tmp_path / 'mae.py', tmp_path).train()
    checkpoint = torch.load(tmp_path / 'mae/epoch_2.pth', weights_only=True)
    assert not checkpoint['meta']['class_distribution']['instance_counts'].numel()
    with pytest.raises(TypeError, match='gt_label'):
        unlabeled(tmp_path / 'livt.py', tmp_path).train()


def test_broken_image_stops_pre_training(config, tmp_path):
    Visualizer._instance_dict.clear()
    with pytest.raises(FloatingPointError, match='Loss is not finite at epoch 1'):
        unlabeled(tmp_path / 'mae.py', tmp_path, broken=20).train()
