"""Two processes equal one with the doubled batch."""

import pytest
import torch
from mmengine.runner import Runner
from toy import free_port, run_tool, toy_config


@pytest.mark.slow
def test_two_gloo_processes_equal_one_with_the_doubled_batch(tmp_path):
    one, two = (toy_config(tmp_path / name, **{'train_cfg.max_epochs': 2}) for name in ('one', 'two'))
    for cfg in (one, two):  # without batch normalisation and augmentation the mathematics is the same
        cfg.train_dataloader.dataset.pipeline = cfg.test_dataloader.dataset.pipeline
        cfg.model.backbone = dict(type='ltmm.FlatPixels')
        cfg.model.head.in_channels = 192
    one.train_dataloader.batch_size = 16
    Runner.from_cfg(one).train()
    two.dump(tmp_path / 'two.py')
    run = run_tool('tools/dist_train.sh', tmp_path / 'two.py', 2, PORT=free_port())
    assert run.returncode == 0, run.stderr[-3000:]
    one, two = (torch.load(tmp_path / name / 'epoch_2.pth', weights_only=True) for name in ('one', 'two'))
    torch.testing.assert_close(one['state_dict'], two['state_dict'], rtol=1e-4, atol=1e-6)
    assert one['meta']['iter'] == two['meta']['iter']
