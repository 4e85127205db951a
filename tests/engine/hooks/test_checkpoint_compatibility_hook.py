import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config

from ltmm.engine.post_process.post_processor import PostProcessor


@pytest.fixture
def checkpoint_of_three_classes(tmp_path) -> str:
    Runner.from_cfg(toy_config(tmp_path / 'three', **{'train_cfg.max_epochs': 1})).train()
    return str(tmp_path / 'three' / 'epoch_1.pth')


def four_classes(tmp_path, **overrides):
    four = {'model.head.num_classes': 4}
    four.update({f'{part}_dataloader.dataset.counts': (9, 8, 7, 6) for part in ('train', 'val', 'test')})
    return Runner.from_cfg(toy_config(tmp_path / 'four', **four, **overrides))


def test_a_test_refuses_a_checkpoint_of_other_classes(tmp_path, checkpoint_of_three_classes):
    with pytest.raises(ValueError, match=r'head.fc.weight: model \(4, 8\), checkpoint \(3, 8\).*number of classes\?'):
        four_classes(tmp_path, load_from=checkpoint_of_three_classes).test()


def test_resume_refuses_it_too(tmp_path, checkpoint_of_three_classes):
    with pytest.raises(ValueError, match='does not fit the model: 2 tensors'):
        four_classes(tmp_path, load_from=checkpoint_of_three_classes, resume=True).train()


def test_fine_tuning_keeps_the_features_and_says_so(tmp_path, checkpoint_of_three_classes):
    runner = four_classes(tmp_path, load_from=checkpoint_of_three_classes, **{'optim_wrapper.optimizer.lr': 0.0})
    runner.train()
    loaded = torch.load(checkpoint_of_three_classes, weights_only=True)['state_dict']
    torch.testing.assert_close(runner.model.state_dict()['backbone.conv1.weight'], loaded['backbone.conv1.weight'])
    log = next((tmp_path / 'four').glob('*/*.log')).read_text()
    assert 'These keep their initial values' in log


@pytest.fixture
def backbone_alone(tmp_path, checkpoint_of_three_classes) -> str:
    checkpoint = torch.load(checkpoint_of_three_classes, weights_only=True)
    state = {name: tensor for name, tensor in checkpoint['state_dict'].items() if 'head.fc' not in name}
    torch.save(dict(checkpoint, state_dict=state), tmp_path / 'backbone.pth')
    return str(tmp_path / 'backbone.pth')


LACKS_THE_HEAD = r'it lacks 2 of its \d+ parameters \(head.fc.weight, head.fc.bias\)'


def test_a_checkpoint_without_some_of_the_parameters_is_to_start_from(tmp_path, backbone_alone):
    cfg = toy_config(tmp_path / 'part', load_from=backbone_alone, **{'train_cfg.max_epochs': 1})
    for step in ('test', 'val'):
        with pytest.raises(ValueError, match=LACKS_THE_HEAD):
            getattr(Runner.from_cfg(cfg), step)()
    cfg.resume = True
    with pytest.raises(ValueError, match=LACKS_THE_HEAD):
        Runner.from_cfg(cfg).train()
    cfg.resume = False
    runner = Runner.from_cfg(cfg)
    runner.train()
    runner.test()  # of what was trained


def test_a_part_that_is_replaced_may_be_missing(tmp_path, backbone_alone):
    cfg = toy_config(tmp_path / 'part', load_from=backbone_alone)
    means, adjustment = dict(type='ltmm.NearestClassMean'), dict(type='ltmm.LogitAdjustment', tau=1.0)
    cfg.custom_hooks.append(dict(type='ltmm.PostProcessHook', steps=[means]))
    Runner.from_cfg(cfg).test()
    cfg.custom_hooks[-1]['steps'] = [adjustment]
    with pytest.raises(ValueError, match=LACKS_THE_HEAD):
        Runner.from_cfg(cfg).test()
    cfg.custom_hooks.pop()
    PostProcessor(cfg, backbone_alone, means)
    with pytest.raises(ValueError, match=LACKS_THE_HEAD):
        PostProcessor(cfg, backbone_alone, adjustment)


def test_weights_that_are_not_numbers_are_refused_by_a_test(tmp_path, checkpoint_of_three_classes):
    checkpoint = torch.load(checkpoint_of_three_classes, weights_only=True)
    checkpoint['state_dict']['head.fc.bias'][1] = torch.nan
    torch.save(checkpoint, tmp_path / 'nan.pth')
    with pytest.raises(ValueError, match='NaN or infinite numbers in 1 of its .* parameters, head.fc.bias first'):
        Runner.from_cfg(toy_config(tmp_path / 'nan', load_from=str(tmp_path / 'nan.pth'))).test()


def test_parameters_that_a_module_renames_are_not_missing(tmp_path, checkpoint_of_three_classes):
    checkpoint = torch.load(checkpoint_of_three_classes, weights_only=True)
    state = {name.replace('head.fc', 'head.linear'): tensor for name, tensor in checkpoint['state_dict'].items()}
    torch.save(dict(checkpoint, state_dict=state), tmp_path / 'renamed.pth')
    runner = Runner.from_cfg(toy_config(tmp_path / 'renamed', load_from=str(tmp_path / 'renamed.pth')))

    def rename(module, state_dict, prefix, *args):
        for key in [key for key in state_dict if 'head.linear' in key]:
            state_dict[key.replace('linear', 'fc')] = state_dict.pop(key)

    runner.model.register_load_state_dict_pre_hook(rename)
    runner.test()


def test_a_file_of_another_model_is_refused(tmp_path):
    torch.save(dict(state_dict=dict(weight=torch.zeros(1))), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='none of its parameters'):
        four_classes(tmp_path, load_from=str(tmp_path / 'other.pth')).test()
