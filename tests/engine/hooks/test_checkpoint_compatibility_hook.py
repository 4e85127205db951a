import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config

from ltmm.engine.post_process import build_post_processor


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> str:
    """A checkpoint of three classes."""
    folder = tmp_path_factory.mktemp('three')
    Runner.from_cfg(toy_config(folder, **{'train_cfg.max_epochs': 1})).train()
    return str(folder / 'epoch_1.pth')


def four_classes(tmp_path, **overrides):
    four = {'model.head.num_classes': 4}
    four.update({f'{part}_dataloader.dataset.counts': (9, 8, 7, 6) for part in ('train', 'val', 'test')})
    return Runner.from_cfg(toy_config(tmp_path / 'four', **four, **overrides))


@pytest.mark.parametrize('resume', [False, True])
def test_other_number_of_classes(tmp_path, checkpoint, resume):
    runner = four_classes(tmp_path, load_from=checkpoint, resume=resume)
    with pytest.raises(ValueError, match=r'2 tensors .*head.fc.weight: model \(4, 8\), checkpoint \(3, 8\)'):
        runner.train() if resume else runner.test()


def test_fine_tuning_warns(tmp_path, checkpoint):
    runner = four_classes(tmp_path, load_from=checkpoint, **{'optim_wrapper.optimizer.lr': 0.0})
    runner.train()
    loaded = torch.load(checkpoint, weights_only=True)['state_dict']
    torch.testing.assert_close(runner.model.state_dict()['backbone.conv1.weight'], loaded['backbone.conv1.weight'])
    log = next((tmp_path / 'four').glob('*/*.log')).read_text()
    assert 'They keep their initial values' in log


@pytest.fixture
def backbone(tmp_path, checkpoint) -> str:
    """A checkpoint without the classifier."""
    content = torch.load(checkpoint, weights_only=True)
    state = {name: tensor for name, tensor in content['state_dict'].items() if 'head.fc' not in name}
    torch.save(dict(content, state_dict=state), tmp_path / 'backbone.pth')
    return str(tmp_path / 'backbone.pth')


LACKS_THE_HEAD = r'it lacks 2 of \d+ parameters \(head.fc.weight, head.fc.bias\)'


def test_missing_parameters_are_allowed_in_training_only(tmp_path, backbone):
    cfg = toy_config(tmp_path / 'part', load_from=backbone, **{'train_cfg.max_epochs': 1})
    for step in ('test', 'val'):
        with pytest.raises(ValueError, match=LACKS_THE_HEAD):
            getattr(Runner.from_cfg(cfg), step)()
    cfg.resume = True
    with pytest.raises(ValueError, match=LACKS_THE_HEAD):
        Runner.from_cfg(cfg).train()
    cfg.resume = False
    runner = Runner.from_cfg(cfg)
    runner.train()
    runner.test()


def test_replaced_parameters_may_be_missing(tmp_path, backbone):
    cfg = toy_config(tmp_path / 'part', load_from=backbone)
    means, adjustment = dict(type='ltmm.NearestClassMean'), dict(type='ltmm.LogitAdjustment', tau=1.0)
    cfg.custom_hooks.append(dict(type='ltmm.PostProcessHook', steps=[means]))
    Runner.from_cfg(cfg).test()
    cfg.custom_hooks[-1]['steps'] = [adjustment]
    with pytest.raises(ValueError, match=LACKS_THE_HEAD):
        Runner.from_cfg(cfg).test()
    cfg.custom_hooks.pop()
    build_post_processor(cfg, backbone, means)
    with pytest.raises(ValueError, match=LACKS_THE_HEAD):
        build_post_processor(cfg, backbone, adjustment)


def test_nan_in_the_weights(tmp_path, checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    content['state_dict']['head.fc.bias'][1] = torch.nan
    torch.save(content, tmp_path / 'nan.pth')
    with pytest.raises(ValueError, match='1 of .* parameters in the checkpoint .*, head.fc.bias first'):
        Runner.from_cfg(toy_config(tmp_path / 'nan', load_from=str(tmp_path / 'nan.pth'))).test()


def test_parameters_that_a_module_renames_are_not_missing(tmp_path, checkpoint):
    content = torch.load(checkpoint, weights_only=True)
    state = {name.replace('head.fc', 'head.linear'): tensor for name, tensor in content['state_dict'].items()}
    torch.save(dict(content, state_dict=state), tmp_path / 'renamed.pth')
    runner = Runner.from_cfg(toy_config(tmp_path / 'renamed', load_from=str(tmp_path / 'renamed.pth')))

    def rename(module, state_dict, prefix, *args):
        for key in [key for key in state_dict if 'head.linear' in key]:
            state_dict[key.replace('linear', 'fc')] = state_dict.pop(key)

    runner.model.register_load_state_dict_pre_hook(rename)
    runner.test()


def test_checkpoint_of_another_model(tmp_path):
    torch.save(dict(state_dict=dict(weight=torch.zeros(1))), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='none of its parameters'):
        four_classes(tmp_path, load_from=str(tmp_path / 'other.pth')).test()
