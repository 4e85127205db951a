"""The shipped config trains, validates, and resumes exactly."""

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from PIL import Image
from toy import ROOT, read_config

from ltmm.tasks.super_resolution import plot_super_resolution
from ltmm.utils.errors import InputError


def config(folder, **changes):
    cfg = read_config(ROOT / 'configs/super_resolution/fpl_fsrcnn_x4.py')
    photos = dict(type='ltmm.SuperResolutionDataset', data_root=str(folder / 'photos'))
    cfg.train_dataloader.dataset = dict(photos, patch_size=6, crops_per_image=2)
    cfg.val_dataloader.dataset = cfg.test_dataloader.dataset = photos
    cfg.merge_from_dict(
        {
            'train_dataloader.batch_size': 2,
            'train_cfg.max_epochs': 2,
            'train_cfg.val_interval': 2,
            'model.backbone': dict(dim=6, shrunk_dim=3),
            'work_dir': str(folder / 'run'),
            'log_level': 'WARNING',
            **changes,
        }
    )
    return cfg


@pytest.fixture
def folder(tmp_path):
    (tmp_path / 'photos').mkdir()
    for k in range(3):
        image = np.random.RandomState(k).randint(0, 256, (36, 40, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / f'photos/{k}.png')
    return tmp_path


def test_resume_is_exact(folder):
    whole = Runner.from_cfg(config(folder, experiment_name='whole'))
    whole.train()
    figures = whole.message_hub.get_scalar('val/sr/psnr_rare').current()
    assert np.isfinite(figures)
    checkpoint = str(folder / 'run/epoch_1.pth')
    resumed = Runner.from_cfg(config(folder, experiment_name='resumed', load_from=checkpoint, resume=True))
    resumed.train()
    ours, theirs = resumed.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    other = config(folder, experiment_name='other', load_from=checkpoint, **{'model.backbone.dim': 8})
    with pytest.raises(InputError, match='differ in shape'):
        Runner.from_cfg(other).test()


def test_picture(tmp_path):
    torch.manual_seed(0)
    hr = torch.rand(3, 40, 48)
    result = dict(hr=hr, bicubic=torch.zeros_like(hr), sr=hr + 0.1)
    plot_super_resolution({'L1': result, 'FPL': result}, tmp_path / 'new/a.png', weights_of='FPL', size=24)
    with Image.open(tmp_path / 'new/a.png') as picture:
        assert min(picture.size) > 300
