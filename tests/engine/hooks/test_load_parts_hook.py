import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config

from ltmm.engine.hooks import LoadPartsHook

FROZEN = {'train_cfg.max_epochs': 1, 'optim_wrapper.optimizer.lr': 0.0}


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp('first')
    Runner.from_cfg(toy_config(folder, **{'train_cfg.max_epochs': 1})).train()
    return folder / 'epoch_1.pth'


def runner_with(folder, *prefixes, **overrides) -> Runner:
    cfg = toy_config(folder, **FROZEN, **overrides)
    cfg.custom_hooks.append(dict(type='ltmm.LoadPartsHook', prefixes=list(prefixes)))
    return Runner.from_cfg(cfg)


def test_training_loads_only_the_parts(tmp_path, checkpoint):
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    model = runner_with(tmp_path, 'backbone', load_from=str(checkpoint)).train()
    assert torch.equal(model.backbone.conv1.weight, state['backbone.conv1.weight'])
    assert not torch.equal(model.head.fc.weight, state['head.fc.weight'])


def test_rename(tmp_path, checkpoint):
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    cfg = toy_config(tmp_path, load_from=str(checkpoint), **FROZEN)
    rename = {'head.fc': 'head.fc.hallucinator', 'backbone.bn1': 'backbone.layer1.0.bn1'}
    cfg.custom_hooks.append(dict(type='ltmm.LoadPartsHook', prefixes=['backbone.conv1'], rename=rename))
    cfg.model.head.classifier = dict(type='ltmm.MetaEmbedding')
    model = Runner.from_cfg(cfg).train()
    assert torch.equal(model.backbone.conv1.weight, state['backbone.conv1.weight'])
    assert torch.equal(model.head.fc.hallucinator.weight, state['head.fc.weight'])
    assert torch.equal(model.backbone.layer1[0].bn1.weight, state['backbone.bn1.weight'])
    assert not torch.equal(model.backbone.bn1.weight, state['backbone.bn1.weight'])


def test_other_number_of_classes_without_warning(tmp_path, checkpoint, caplog):
    overrides = {'model.head.num_classes': 2, 'train_dataloader.dataset.counts': (16, 8)}
    overrides |= {f'{name}_dataloader.dataset.counts': (4, 4) for name in ('val', 'test')}
    runner_with(tmp_path, 'backbone', load_from=str(checkpoint), **overrides).train()
    assert 'does not fit the model' not in caplog.text


def test_test_and_resume_load_everything(tmp_path, checkpoint):
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    runner = runner_with(tmp_path / 'test', 'backbone', load_from=str(checkpoint))
    runner.test()
    assert torch.equal(runner.model.head.fc.weight, state['head.fc.weight'])
    resumed = {'resume': True, 'load_from': str(checkpoint)}  # at its last epoch: nothing is left to train
    model = runner_with(tmp_path / 'resumed', 'backbone', **resumed).train()
    assert torch.equal(model.head.fc.weight, state['head.fc.weight'])


def test_missing_part(tmp_path, checkpoint):
    with pytest.raises(ValueError, match="the checkpoint has no 'neck', but backbone, head"):
        runner_with(tmp_path, 'neck', load_from=str(checkpoint)).train()


def test_invalid_prefixes():
    with pytest.raises(ValueError, match="list of names, but got 'backbone'"):
        LoadPartsHook('backbone')
