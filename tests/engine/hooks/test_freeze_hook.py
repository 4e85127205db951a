import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.runner import Runner
from torch.nn import BatchNorm2d
from toy import toy_config

from ltmm.engine.hooks import FreezeHook


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp('first')
    Runner.from_cfg(toy_config(folder, **{'train_cfg.max_epochs': 1})).train()
    return str(folder / 'epoch_1.pth')


def second_stage(folder, *prefixes, keep=None, load_from=None, norm_eval=False, **overrides) -> Runner:
    cfg = toy_config(folder, **{'train_cfg.max_epochs': 1, 'load_from': load_from, **overrides})
    names = dict(keep=keep) if keep else dict(prefixes=list(prefixes))
    cfg.custom_hooks.append(dict(type='ltmm.FreezeHook', norm_eval=norm_eval, **names))
    return Runner.from_cfg(cfg)


def weights(state: dict) -> dict:
    return {name: value for name, value in state.items() if 'running' not in name and 'tracked' not in name}


def statistics(state: dict) -> dict:
    return {name: value for name, value in state.items() if 'running' in name}


@pytest.mark.parametrize('norm_eval', [False, True])
def test_frozen_parameters_and_statistics(tmp_path, checkpoint, norm_eval):
    before = torch.load(checkpoint, weights_only=True)['state_dict']
    runner = second_stage(tmp_path, 'backbone', load_from=checkpoint, norm_eval=norm_eval)
    runner.train()
    after = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)['state_dict']
    for name, value in weights(after).items():
        if name.startswith('backbone.'):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(after['head.fc.weight'], before['head.fc.weight'])
    moved = any(not torch.equal(value, before[name]) for name, value in statistics(after).items())
    assert moved is not norm_eval


def test_norm_eval_in_every_iteration(tmp_path, checkpoint):
    overrides = {'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 1}
    runner = second_stage(tmp_path, 'backbone', load_from=checkpoint, norm_eval=True, **overrides)
    modes = []
    norm = next(m for m in runner.model.modules() if isinstance(m, BatchNorm2d))
    norm.register_forward_pre_hook(lambda module, _: modes.append((module.training, runner.model.head.training)))
    runner.train()
    assert {head for _, head in modes} == {True, False}  # training and validation
    assert not any(training for training, _ in modes)


def test_part_of_a_layer(tmp_path, checkpoint):
    runner = second_stage(tmp_path, 'backbone', 'head.fc.weight', load_from=checkpoint)
    runner.train()
    assert [name for name, p in runner.model.named_parameters() if p.requires_grad] == ['head.fc.bias']


def test_resume_is_exact(tmp_path, checkpoint):
    three, two = {'train_cfg.max_epochs': 3}, {'train_cfg.max_epochs': 2}
    second_stage(tmp_path / 'straight', 'backbone', load_from=checkpoint, **three).train()
    second_stage(tmp_path / 'resumed', 'backbone', load_from=checkpoint, **two).train()
    second_stage(tmp_path / 'resumed', 'backbone', resume=True, experiment_name='again', **three).train()
    one, other = (
        torch.load(tmp_path / name / 'epoch_3.pth', weights_only=True)['state_dict'] for name in ('straight', 'resumed')
    )
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_pretrained_weights_without_checkpoint(tmp_path, checkpoint):
    init = ConfigDict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
    runner = second_stage(tmp_path, 'backbone', **{'model.backbone.init_cfg': init})
    runner.train()
    before = torch.load(checkpoint, weights_only=True)['state_dict']
    assert torch.equal(runner.model.backbone.conv1.weight, before['backbone.conv1.weight'])


def test_test_freezes_nothing(tmp_path, checkpoint):
    runner = second_stage(tmp_path, 'backbone', load_from=checkpoint)
    runner.test()
    assert all(p.requires_grad for p in runner.model.parameters())


def test_keep(tmp_path, checkpoint):
    runner = second_stage(tmp_path, keep=['head.fc', 'backbone.conv1'], load_from=checkpoint, norm_eval=True)
    runner.train()
    trained = [name for name, p in runner.model.named_parameters() if p.requires_grad]
    assert trained == ['backbone.conv1.weight', 'head.fc.weight', 'head.fc.bias']
    before, after = torch.load(checkpoint, weights_only=True)['state_dict'], runner.model.state_dict()
    changed = {name for name, value in weights(after).items() if not torch.equal(value, before[name])}
    assert changed == set(trained)
    assert not any(not torch.equal(value, before[name]) for name, value in statistics(after).items())


FOUR_CLASSES = {'model.head.num_classes': 4}
FOUR_CLASSES |= {f'{part}_dataloader.dataset.counts': (9, 8, 7, 6) for part in ('train', 'val', 'test')}
WIDER = {'model.backbone.channels': (4, 4, 12), 'model.head.in_channels': 12}
DEEPER = {'model.backbone.depth': 14}


@pytest.mark.parametrize(
    'names, loads, overrides, message',
    [
        (dict(prefixes=['backbone']), False, {}, r'backbone.conv1.weight.* no checkpoint.*tools/train_stages.py'),
        (dict(keep=['head']), False, {}, r'backbone.conv1.weight.* no checkpoint'),
        (dict(prefixes=['backbone']), True, WIDER, r'backbone.layer3\S+, \(12, .* checkpoint with shape \(8, '),
        (dict(prefixes=['backbone']), True, DEEPER, r'backbone.layer1.1\S+, .* checkpoint without it'),
        (dict(prefixes=['backbon']), True, {}, r"no parameter begins with 'backbon'.*backbone\.bn1"),
        (dict(keep=['hed']), True, {}, "no parameter begins with 'hed'"),
    ],
)
def test_random_or_unknown_parameters_are_not_frozen(tmp_path, checkpoint, names, loads, overrides, message):
    keep, prefixes = names.get('keep'), names.get('prefixes', ())
    runner = second_stage(tmp_path, *prefixes, keep=keep, load_from=checkpoint if loads else None, **overrides)
    with pytest.raises(ValueError, match=message):
        runner.train()


def test_parts_that_another_hook_does_not_load_are_not_frozen(tmp_path, checkpoint):
    runner = second_stage(tmp_path, 'backbone', 'head.fc.weight', load_from=checkpoint)
    runner.register_hook(dict(type='ltmm.LoadPartsHook', prefixes=['backbone']))
    with pytest.raises(ValueError, match='head.fc.weight, .* checkpoint without it'):
        runner.train()


def test_new_classes_on_frozen_features(tmp_path, checkpoint):
    second_stage(tmp_path, 'backbone', load_from=checkpoint, **FOUR_CLASSES).train()


@pytest.mark.parametrize(
    'kwargs',
    [
        dict(),
        dict(prefixes=['backbone'], keep=['head']),
        dict(keep='head'),
        dict(prefixes='backbone'),
        dict(prefixes=[]),
    ],
)
def test_invalid_argument(kwargs):
    with pytest.raises(ValueError, match='Expected a list as either `prefixes` or `keep`'):
        FreezeHook(**kwargs)
