import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config


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


def test_a_file_of_another_model_is_refused(tmp_path):
    torch.save(dict(state_dict=dict(weight=torch.zeros(1))), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='none of its parameters'):
        four_classes(tmp_path, load_from=str(tmp_path / 'other.pth')).test()
