import logging
import re
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from torch import nn

from ltmm.engine.hooks import RanksHook
from ltmm.models.losses.detection.base import DetectionLoss
from ltmm.registry import MODELS

CE = dict(type='mmpretrain.CrossEntropyLoss')
BCE = dict(type='ltmm.MultiLabelBCELoss')
RIDE = dict(type='ltmm.RIDELoss', diversity_factor=-0.2, reweight_factor=0.02)
DB = dict(type='ltmm.DistributionBalancedLoss', reweight='inv')
PARTIAL = dict(type='ltmm.PartialASLLoss', reduction='mean')
REWEIGHTED = dict(type='ltmm.ReweightedLoss', loss=CE, kind='inverse')
REFUSED = {
    r'model.loss.counts \(RunningCounts\)': dict(type='ltmm.SeesawLoss', num_classes=3),
    'RunningGradients': dict(type='ltmm.EQLv2Loss'),
    'RunningDirection': dict(type='ltmm.CausalCosine', in_features=2, out_features=3, mode='head'),
    'ReweightedLoss': REWEIGHTED,
    'ReweightedExpertLoss': dict(REWEIGHTED, type='ltmm.ReweightedExpertLoss', loss=dict(type='ltmm.SADELoss')),
    'LDAMLoss.* mean': dict(REWEIGHTED, loss=dict(type='ltmm.LDAMLoss', reduction='sum'), normalize='batch_size'),
    "ASLLoss.*reduction='sum'.* mean": dict(type='ltmm.ASLLoss'),
    'CorrectorLoss': dict(type='ltmm.ReflectiveLabelCorrectorLoss', reduction='batchmean'),
    'HeadTailBalancerLoss': dict(type='ltmm.HeadTailBalancerLoss', loss=BCE),
    'PartialASLLoss': dict(PARTIAL, mode='selective', topk=1),
    'DistributionBalancedLoss': dict(DB, weight_norm='by_batch'),
    'BalancedContrastiveLoss': dict(type='ltmm.BalancedContrastiveLoss', in_channels=2),
    'DiscCentroidsLoss': dict(type='ltmm.DiscCentroidsLoss'),
    'MDCSLoss': dict(type='ltmm.MDCSLoss'),
    'RIDELoss': dict(RIDE, reweight_epoch=1),
}
FITS = [
    CE,
    BCE,
    DB,
    dict(RIDE, reweight_epoch=None),
    dict(PARTIAL, mode='negative'),
    dict(REWEIGHTED, normalize='batch_size'),
    dict(REWEIGHTED, type='ltmm.ReweightedExpertLoss', normalize='batch_size', loss=dict(type='ltmm.SHIKELoss')),
    dict(type='ltmm.BalPoELoss'),
    dict(type='ltmm.EQLLoss', lambda_=0.1),
]


def runner(loss: dict = CE, counts: int = 1, batch_size: int | None = 8, resume: bool = True) -> SimpleNamespace:
    """Return what the hook reads of a runner."""
    loss = MODELS.build(loss)
    if isinstance(loss, DetectionLoss):
        loss.get_cls_channels(3)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    return SimpleNamespace(
        model=nn.ModuleDict(dict(loss=loss)),
        optim_wrapper=OptimWrapper(optimizer, accumulative_counts=counts),
        train_dataloader=SimpleNamespace(batch_sampler=SimpleNamespace(batch_size=batch_size)),
        logger=logging.getLogger('ranks'),
        _resume=resume,
    )


def set_world_size(monkeypatch, world_size):
    monkeypatch.setattr('ltmm.engine.hooks.ranks_hook.get_world_size', lambda: world_size)


@pytest.mark.parametrize('message', REFUSED)
def test_accumulation_that_changes_the_objective(message):
    with pytest.raises(ValueError, match=f'accumulative_counts=2 .*{message}'):
        RanksHook().before_train(runner(REFUSED[message], counts=2))
    RanksHook().before_train(runner(REFUSED[message]))


@pytest.mark.parametrize('loss', FITS, ids=lambda loss: loss['type'])
def test_accumulation_that_does_not(loss):
    RanksHook().before_train(runner(loss, counts=2))


def test_accumulation_of_one_of_several_optimizers():
    several = runner(REWEIGHTED)
    several.optim_wrapper = OptimWrapperDict(a=several.optim_wrapper, b=runner(counts=3).optim_wrapper)
    with pytest.raises(ValueError, match='accumulative_counts=3'):
        RanksHook().before_train(several)


@pytest.mark.parametrize(
    'world_size, options, message',
    [
        (1, dict(batch_size=16), None),
        (2, dict(batch_size=8), 'by 1 process.* 16 images per iteration; this run has 2 with 16. .*go on as before'),
        (2, dict(batch_size=4, counts=2), 'this run has 2 with 8. .*are those of the checkpoint'),
        (2, dict(batch_size=16), 'this run has 2 with 32. .*learning rate are those of the checkpoint'),
        (2, dict(batch_size=None), 'this run has 2 with None. .*are those of the checkpoint'),
        (1, dict(batch_size=8), 'this run has 1 with 8. .*choose train_dataloader.batch_size'),
        (2, dict(batch_size=16, resume=False), None),  # weights only
    ],
)
def test_resume_at_another_world_size(world_size, options, message, monkeypatch, caplog):
    checkpoint = dict(meta={})
    RanksHook().before_save_checkpoint(runner(batch_size=16), checkpoint)
    set_world_size(monkeypatch, world_size)
    RanksHook().after_load_checkpoint(runner(**options), checkpoint)
    assert len(caplog.messages) == (message is not None)
    assert message is None or re.search(message, caplog.text)


def test_of_a_checkpoint_without_training_data(caplog):
    tested = runner(resume=False)
    tested.train_dataloader = None
    RanksHook().after_load_checkpoint(tested, dict(meta=dict(world_size=2, images_per_iteration=16)))
    assert not caplog.messages


@pytest.mark.parametrize('meta', [{}, dict(epoch=3)])
def test_resume_of_an_older_checkpoint(meta, caplog):
    RanksHook().after_load_checkpoint(runner(), dict(meta=meta))
    assert not caplog.messages
