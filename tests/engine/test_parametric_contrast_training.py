"""PaCo and GPaCo train in half precision, resume exactly, and train on two ranks."""

from functools import partial

import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config
from toy_training import stop_and_resume, train_on_two_ranks

MODELS = dict(PaCoLoss='ltmm.MomentumClassifier', GPaCoLoss='ltmm.PerViewClassifier')
FLIP = dict(type='RandomFlip', prob=0.5)
CUTOUT = dict(type='Cutout', shape=4, prob=1.0)


def config(work_dir, loss, **overrides):
    cfg = toy_config(work_dir, **overrides)
    cfg.model.type = MODELS[loss]
    cfg.model.data_preprocessor.type = 'ltmm.MultiViewDataPreprocessor'
    cfg.model.head.loss = dict(type=f'ltmm.{loss}', in_channels=8, feat_dim=8, queue_size=20)
    cfg.test_evaluator = cfg.val_evaluator = dict(type='ltmm.LongTailMetric', topk=(1,))
    views = dict(type='MultiView', num_views=[1, 1], transforms=[[FLIP, CUTOUT], [FLIP]])
    cfg.train_dataloader.dataset.pipeline = [views, dict(type='PackInputs', meta_keys=('sample_idx',))]
    return cfg


@pytest.mark.parametrize('loss, wrapper', [('PaCoLoss', 'ltmm.CPUAmpOptimWrapper'), ('GPaCoLoss', 'OptimWrapper')])
def test_resume_equals_never_stopped(tmp_path, loss, wrapper):
    options = {'optim_wrapper.type': wrapper}
    runner = Runner.from_cfg(config(tmp_path / 'straight', loss, **options))
    runner.train()
    assert runner.val_loop.run()['long_tail/top1'] > 50
    stop_and_resume(partial(config, tmp_path / 'stopped', loss, **options), at_iter=18)
    straight, resumed = (torch.load(tmp_path / n / 'epoch_4.pth', weights_only=True) for n in ('straight', 'stopped'))
    assert straight['state_dict']['head.loss_module.queue.num_filled'] == 20
    torch.testing.assert_close(resumed['state_dict'], straight['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(resumed['optimizer'], straight['optimizer'], rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize('loss', MODELS)
def test_trains_on_two_processes(tmp_path, loss):
    cfg = config(tmp_path / 'two', loss, **{'train_cfg.max_epochs': 1})
    cfg.find_unused_parameters = False
    train_on_two_ranks(cfg)
    checkpoint = torch.load(tmp_path / 'two' / 'epoch_1.pth', weights_only=True)
    assert checkpoint['meta']['iter'] == 4
    assert checkpoint['state_dict']['head.loss_module.queue.cursor'] == 4 * 16 % 20  # of both processes
