"""Batch augmentations in a training: class counts, progress and partners reach them; resume, AMP, two ranks."""

from functools import partial

import pytest
import torch
from mmengine.runner import Runner
from mmpretrain.models import build_classifier
from toy import COUNTS, toy_config
from toy_training import stop_and_resume, train_on_two_ranks

import ltmm.models.batch_augments  # noqa: F401  (as custom_imports does in a config file)

IMPORTS = dict(imports=['toy', 'ltmm.models.batch_augments'], allow_failed_imports=False)
ALL = [dict(type='ltmm.UniMix'), dict(type='ltmm.Remix'), dict(type='ltmm.CMO', start=0.25, end=1.0)]


def mixing_config(work_dir, augments=ALL, **options):
    cfg = toy_config(work_dir, custom_imports=IMPORTS, **options)
    cfg.model.train_cfg = dict(augments=augments, probs=[1 / len(augments)] * len(augments))
    return cfg


def test_training(tmp_path):
    cfg = mixing_config(tmp_path, **{'optim_wrapper.type': 'ltmm.CPUAmpOptimWrapper'})
    runner = Runner.from_cfg(cfg)
    runner.train()
    unimix, remix, cmo = runner.model.data_preprocessor.batch_augments.augments[:3]
    for augment in (unimix, remix):
        assert augment.get_class_distribution().instance_counts.tolist() == list(COUNTS)
    assert cmo.epoch == 3 and cmo.partners.epoch == 3
    assert not any('augments' in name for name in runner.model.state_dict())

    test = mixing_config(tmp_path, load_from=str(tmp_path / 'epoch_4.pth'), experiment_name='test')
    Runner.from_cfg(test).test()
    plain = build_classifier(toy_config(tmp_path).model)
    keys = plain.load_state_dict(torch.load(tmp_path / 'epoch_4.pth', weights_only=True)['state_dict'])
    assert not keys.missing_keys


def test_the_second_stream_is_tail_weighted_and_starts_anew_in_every_epoch(tmp_path):
    runner = Runner.from_cfg(mixing_config(tmp_path, [dict(type='ltmm.CMO', end=1.0)], **{'train_cfg.max_epochs': 1}))
    runner.train()
    stream = runner.model.data_preprocessor.augments[0].partners
    first, second = (torch.cat([stream.read(8, epoch)[1] for _ in range(8)]) for epoch in (5, 6))
    again, beyond = (torch.cat([stream.read(8, 5)[1] for _ in range(8)]) for _ in range(2))
    assert torch.equal(first, again) and not torch.equal(first, second)
    assert not torch.equal(first, beyond)  # after the end of the stream
    assert (first + second).sum(0).min() > 30  # of 128 draws in three classes; 16 is the share of the rarest
    assert len(stream.read(100, 5)[0]) == 100


@pytest.mark.parametrize('num_workers', [0, pytest.param(2, marks=pytest.mark.slow)])
def test_resume_equals_never_stopped(tmp_path, num_workers):
    options = {'train_dataloader.num_workers': num_workers}
    Runner.from_cfg(mixing_config(tmp_path / 'straight', **options)).train()
    stop_and_resume(partial(mixing_config, tmp_path / 'stopped', **options), at_iter=17)
    straight, resumed = (
        torch.load(tmp_path / name / 'epoch_4.pth', weights_only=True)['state_dict'] for name in ('straight', 'stopped')
    )
    torch.testing.assert_close(straight, resumed, rtol=0, atol=0)


@pytest.mark.parametrize(
    ('loss', 'match'),
    [
        (dict(type='ltmm.ASLSingleLabelLoss'), 'ASLSingleLabelLoss takes class indices .*Mixup'),
        (
            dict(type='SeesawLoss', num_classes=3),
            r'SeesawLoss of mmpretrain \(model.head.loss_module\) takes class ind',
        ),
    ],
)
def test_losses_of_class_indices_refuse_mixed_labels(tmp_path, loss, match):
    cfg = mixing_config(tmp_path, [dict(type='ltmm.UniMix')])
    cfg.model.head.loss = loss
    with pytest.raises(ValueError, match=match):
        Runner.from_cfg(cfg).train()


@pytest.mark.slow
def test_two_processes(tmp_path):
    """Both get their own half of the partners, and end at the same weights."""
    cfg = mixing_config(tmp_path / 'two', **{'train_cfg.max_epochs': 2})
    train_on_two_ranks(cfg)
    state = torch.load(tmp_path / 'two/epoch_2.pth', weights_only=True)['state_dict']
    assert all(value.isfinite().all() for value in state.values())
