"""The second stage of OLTR through the Runner: it resumes exactly, runs in half precision and on two processes."""

from functools import partial
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from toy import toy_config
from toy_training import stop_and_resume, train_on_two_ranks

from ltmm.models.state.prototypes import class_statistics
from ltmm.utils.configs import use_amp

EPOCHS = {'train_cfg.max_epochs': 2}  # of 8 iterations


def oltr_config(work_dir: Path, **overrides) -> Config:
    cfg = toy_config(work_dir, **EPOCHS, **overrides)
    cfg.model.backbone.pooled = False
    cfg.model.neck = [
        dict(type='ltmm.ModulatedAttention', in_channels=8, spatial_size=2),
        dict(type='LinearNeck', in_channels=8, out_channels=8, gap_dim=2, norm_cfg=None, act_cfg=dict(type='ReLU')),
    ]
    cfg.model.head.update(
        classifier=dict(type='ltmm.MetaEmbedding'), aux_losses=[dict(type='ltmm.DiscCentroidsLoss')], init_cfg=None
    )
    return cfg


def final_state(work_dir: Path) -> dict:
    return torch.load(work_dir / 'epoch_2.pth', weights_only=True)['state_dict']


def test_resumed_equals_never_stopped(tmp_path):
    Runner.from_cfg(oltr_config(tmp_path / 'straight')).train()
    stop_and_resume(partial(oltr_config, tmp_path / 'stopped'), at_iter=11)
    resumed, straight = (final_state(tmp_path / name) for name in ('stopped', 'straight'))
    assert straight['head.fc.centroids'].any()
    torch.testing.assert_close(resumed, straight, rtol=0, atol=0)


def test_mixed_precision(tmp_path):
    cfg = oltr_config(tmp_path)
    use_amp(cfg)
    model = Runner.from_cfg(cfg).train()
    centroids = model.head.fc.centroids
    assert centroids.dtype == torch.float32 and centroids.isfinite().all()


def linear_config(work_dir: Path, **overrides) -> Config:
    """Without batch normalization and augmentation, where two ranks can equal one."""
    cfg = toy_config(work_dir, **EPOCHS, **overrides)
    cfg.train_dataloader.dataset.pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.model.backbone = dict(type='ltmm.FlatPixels')
    cfg.model.head.update(
        in_channels=192,
        classifier=dict(type='ltmm.MetaEmbedding'),
        aux_losses=[dict(type='ltmm.DiscCentroidsLoss', margin=1000.0)],
    )
    return cfg


def test_centroids_start_as_class_means(tmp_path):
    runner = Runner.from_cfg(linear_config(tmp_path, **{'optim_wrapper.optimizer.lr': 0.0}))
    model = runner.train()
    dataset = runner.train_dataloader.dataset
    images = torch.stack([item['inputs'] for item in dataset])
    label = torch.cat([item['data_samples'].gt_label for item in dataset])
    features = model.data_preprocessor(dict(inputs=images))['inputs'].flatten(1)
    torch.testing.assert_close(model.head.fc.centroids.detach(), class_statistics(features, label, 3)[1].float())


@pytest.mark.slow
def test_two_processes_equal_one_with_the_doubled_batch(tmp_path):
    one, two = (linear_config(tmp_path / name) for name in ('one', 'two'))
    one.train_dataloader.batch_size = 16
    Runner.from_cfg(one).train()
    train_on_two_ranks(two)
    torch.testing.assert_close(final_state(tmp_path / 'two'), final_state(tmp_path / 'one'), rtol=1e-4, atol=1e-6)
