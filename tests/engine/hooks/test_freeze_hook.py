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


def second_stage(folder, *prefixes, load_from=None, norm_eval=False, **overrides) -> Runner:
    cfg = toy_config(folder, **{'train_cfg.max_epochs': 1, 'load_from': load_from, **overrides})
    cfg.custom_hooks.append(dict(type='ltmm.FreezeHook', prefixes=list(prefixes), norm_eval=norm_eval))
    return Runner.from_cfg(cfg)


def weights(state: dict) -> dict:
    return {name: value for name, value in state.items() if 'running' not in name and 'tracked' not in name}


def statistics(state: dict) -> dict:
    return {name: value for name, value in state.items() if 'running' in name}


@pytest.mark.parametrize('norm_eval', [False, True])
def test_frozen_parameters_stay_and_statistics_follow_the_policy(tmp_path, checkpoint, norm_eval):
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


def test_norm_eval_holds_in_every_iteration_after_every_validation(tmp_path, checkpoint):
    overrides = {'train_cfg.max_epochs': 2, 'train_cfg.val_interval': 1}
    runner = second_stage(tmp_path, 'backbone', load_from=checkpoint, norm_eval=True, **overrides)
    modes = []
    norm = next(m for m in runner.model.modules() if isinstance(m, BatchNorm2d))
    norm.register_forward_pre_hook(lambda module, _: modes.append((module.training, runner.model.head.training)))
    runner.train()
    assert {head for _, head in modes} == {True, False}  # training and validation
    assert not any(training for training, _ in modes)


def test_a_part_of_a_layer_can_be_frozen(tmp_path, checkpoint):
    runner = second_stage(tmp_path, 'backbone', 'head.fc.weight', load_from=checkpoint)
    runner.train()
    assert [name for name, p in runner.model.named_parameters() if p.requires_grad] == ['head.fc.bias']


def test_a_frozen_run_resumes_exactly(tmp_path, checkpoint):
    three, two = {'train_cfg.max_epochs': 3}, {'train_cfg.max_epochs': 2}
    second_stage(tmp_path / 'straight', 'backbone', load_from=checkpoint, **three).train()
    second_stage(tmp_path / 'resumed', 'backbone', load_from=checkpoint, **two).train()
    second_stage(tmp_path / 'resumed', 'backbone', resume=True, experiment_name='again', **three).train()
    one, other = (
        torch.load(tmp_path / name / 'epoch_3.pth', weights_only=True)['state_dict'] for name in ('straight', 'resumed')
    )
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_prefix_that_matches_nothing_is_an_error(tmp_path, checkpoint):
    with pytest.raises(ValueError, match=r"no parameter is called 'backbon' or 'backbon\.'.*backbone\.bn1"):
        second_stage(tmp_path, 'backbon', load_from=checkpoint).train()


def test_a_random_start_is_not_frozen(tmp_path):
    with pytest.raises(ValueError, match=r"'backbone' would be frozen at its random start.*tools/train_stages.py"):
        second_stage(tmp_path, 'backbone').train()


def test_pretrained_weights_may_be_frozen_without_a_checkpoint(tmp_path, checkpoint):
    init = ConfigDict(type='Pretrained', checkpoint=checkpoint, prefix='backbone.')
    runner = second_stage(tmp_path, 'backbone', **{'model.backbone.init_cfg': init})
    runner.train()
    before = torch.load(checkpoint, weights_only=True)['state_dict']
    assert torch.equal(runner.model.backbone.conv1.weight, before['backbone.conv1.weight'])


def test_a_test_freezes_nothing(tmp_path, checkpoint):
    runner = second_stage(tmp_path, 'backbone', load_from=checkpoint)
    runner.test()
    assert all(p.requires_grad for p in runner.model.parameters())


def keeping(folder, *keep, load_from=None, **options) -> Runner:
    cfg = toy_config(folder, **{'train_cfg.max_epochs': 1, 'load_from': load_from})
    cfg.custom_hooks.append(dict(type='ltmm.FreezeHook', keep=list(keep), **options))
    return Runner.from_cfg(cfg)


def test_all_but_the_named_can_be_frozen(tmp_path, checkpoint):
    runner = keeping(tmp_path, 'head.fc', 'backbone.conv1', load_from=checkpoint, norm_eval=True)
    runner.train()
    trained = [name for name, p in runner.model.named_parameters() if p.requires_grad]
    assert trained == ['backbone.conv1.weight', 'head.fc.weight', 'head.fc.bias']
    before, after = torch.load(checkpoint, weights_only=True)['state_dict'], runner.model.state_dict()
    changed = {name for name, value in weights(after).items() if not torch.equal(value, before[name])}
    assert changed == set(trained)
    assert not any(not torch.equal(value, before[name]) for name, value in statistics(after).items())


def test_all_but_the_named_is_not_frozen_at_a_random_start(tmp_path, checkpoint):
    with pytest.raises(ValueError, match=r"'backbone\.conv1\.weight' would be frozen at its random start"):
        keeping(tmp_path / 'a', 'head').train()
    with pytest.raises(ValueError, match=r"no parameter is called 'hed'.*so there is nothing to train"):
        keeping(tmp_path / 'b', 'hed', load_from=checkpoint).train()


def test_either_what_to_freeze_or_what_to_train_is_named():
    for options in (dict(), dict(prefixes=['backbone'], keep=['head'])):
        with pytest.raises(ValueError, match='Expected either `prefixes`, what to freeze, or `keep`, what to train'):
            FreezeHook(**options)
    with pytest.raises(ValueError, match="Expected `keep` to be a list of names, but got 'head'"):
        FreezeHook(keep='head')


@pytest.mark.parametrize('prefixes', ['backbone', []])
def test_prefixes_are_a_list(prefixes):
    with pytest.raises(ValueError, match='Expected `prefixes` to be a list of names'):
        FreezeHook(prefixes)


def test_weights_of_another_width_are_not_frozen(tmp_path, checkpoint):
    wider = {'model.backbone.channels': (4, 4, 12), 'model.head.in_channels': 12}
    message = r'FreezeHook: backbone.layer3\S+, \(12, .* frozen at its random start: the checkpoint has it as \(8, '
    with pytest.raises(ValueError, match=message):
        second_stage(tmp_path, 'backbone', load_from=checkpoint, **wider).train()


def test_what_the_checkpoint_lacks_or_another_hook_leaves_out_is_not_frozen(tmp_path, checkpoint):
    with pytest.raises(ValueError, match=r'backbone.layer1.1\S+, .* the checkpoint does not have it'):
        second_stage(tmp_path / 'a', 'backbone', load_from=checkpoint, **{'model.backbone.depth': 14}).train()
    runner = second_stage(tmp_path / 'b', 'backbone', 'head.fc.weight', load_from=checkpoint)
    runner.register_hook(dict(type='ltmm.LoadPartsHook', prefixes=['backbone']))
    with pytest.raises(ValueError, match='head.fc.weight, .* the checkpoint does not have it'):
        runner.train()


def test_a_new_head_of_other_classes_is_trained_on_frozen_features(tmp_path, checkpoint):
    four = {'model.head.num_classes': 4}
    four.update({f'{part}_dataloader.dataset.counts': (9, 8, 7, 6) for part in ('train', 'val', 'test')})
    second_stage(tmp_path, 'backbone', load_from=checkpoint, **four).train()
