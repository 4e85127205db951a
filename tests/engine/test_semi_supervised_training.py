"""Semi-supervised trainings: what they log, exact resume, two ranks."""

import json

import pytest
import torch
from mmengine.runner import Runner
from toy_semi import semi_config
from toy_training import stop_and_resume, train_on_two_ranks

ACR = dict(type='ltmm.ACRLoss', interval=4, warmup=0, threshold=0.4, momentum=0.9)
HEAD = {'model.head.classifier': dict(type='ltmm.TwoBranchLinear')}
LOSSES = {'fixmatch': ({}, None), 'acr': (HEAD, ACR), 'acr_histogram': (HEAD, dict(ACR, estimator='histogram'))}


def checkpoint(folder, name='epoch_4.pth'):
    return torch.load(folder / name, weights_only=True)


@pytest.mark.parametrize('name', ['fixmatch', 'acr'])
def test_resume_is_exact(tmp_path, name):
    overrides, loss = LOSSES[name]

    def config(folder, **changes):
        return semi_config(tmp_path / folder, loss=loss, **overrides, **changes)

    Runner.from_cfg(config('straight')).train()
    stop_and_resume(lambda **changes: config('stopped', **changes), at_iter=18)
    straight, stopped = (checkpoint(tmp_path / folder) for folder in ('straight', 'stopped'))
    for part in ('state_dict', 'ema_state_dict'):
        torch.testing.assert_close(straight[part], stopped[part], rtol=0, atol=0)
    weight = 'head.fc.weight'
    assert not torch.equal(straight['state_dict'][weight], straight['ema_state_dict'][f'module.{weight}'])
    if loss is not None:
        prior = straight['state_dict']['head.loss_module.estimate.prior']
        assert len(prior) == 3 and not torch.allclose(prior, prior.mean())


def test_log(tmp_path):
    overrides, loss = LOSSES['acr']
    Runner.from_cfg(semi_config(tmp_path, loss=loss, **overrides, **{'train_cfg.max_epochs': 2})).train()
    (path,) = tmp_path.rglob('scalars.json')
    logged = [json.loads(line) for line in path.read_text().splitlines()]
    last = [line for line in logged if 'mask_rate' in line][-1]
    assert {'tau', 'confidence', 'threshold', 'pseudo_used', 'loss_unlabeled_balanced'} <= last.keys()
    terms = [value for name, value in last.items() if name.startswith('loss_')]
    assert len(terms) == 4 and last['loss'] == pytest.approx(sum(terms))
    assert last['tau'] < 2 and 0 <= last['mask_rate'] <= 1


@pytest.mark.slow
@pytest.mark.parametrize('name', ['fixmatch', 'acr_histogram'])
def test_two_ranks_equal_one_process(tmp_path, name):
    overrides, loss = LOSSES[name]
    configs = {}
    for folder, batch_size in dict(one=16, two=8).items():
        cfg = configs[folder] = semi_config(tmp_path / folder, loss=loss, **overrides, **{'train_cfg.max_epochs': 2})
        cfg.train_dataloader.batch_size = batch_size
        for part in ('labeled', 'unlabeled'):  # without batch norm and augmentation the mathematics is the same
            pipeline = [dict(type='MultiView', num_views=[2], transforms=[[]]), dict(type='PackInputs')]
            cfg.train_dataloader.dataset[part].pipeline = pipeline
        cfg.custom_imports.imports = ['toy', 'toy_semi']
        cfg.model.backbone = dict(type='ltmm.FlatPixels')
        cfg.model.head.in_channels = 192
        cfg.optim_wrapper.optimizer.lr = 0.001
    Runner.from_cfg(configs['one']).train()
    train_on_two_ranks(configs['two'])
    one, two = (checkpoint(tmp_path / folder, 'epoch_2.pth') for folder in configs)
    for part in ('state_dict', 'ema_state_dict'):
        torch.testing.assert_close(one[part], two[part], rtol=1e-4, atol=1e-6)
