import pytest
import torch
from mmengine.runner import Runner
from toy import COUNTS, toy_config

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError


def trained(tmp_path, **overrides) -> Runner:
    runner = Runner.from_cfg(toy_config(tmp_path, **{'train_cfg.max_epochs': 1, **overrides}))
    runner.train()
    return runner


def test_counts_flow_from_the_data_into_head_loss_and_checkpoint(tmp_path):
    runner = trained(tmp_path)
    expected = ClassDistribution(COUNTS)
    assert runner.model.head.get_class_distribution() == expected
    assert runner.model.head.loss_module.get_class_distribution() == expected
    checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert ClassDistribution.from_state_dict(checkpoint['state_dict']) == expected


def test_a_test_takes_the_distribution_from_the_checkpoint_without_a_training_set(tmp_path):
    trained(tmp_path)
    cfg = toy_config(tmp_path, load_from=str(tmp_path / 'epoch_1.pth'), experiment_name='test')
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg.pop(key)
    runner = Runner.from_cfg(cfg)
    runner.test_loop.evaluator.metrics[0].set_class_distribution = lambda got: seen.append(got)
    seen = []
    runner.test()
    assert seen == [ClassDistribution(COUNTS)]


def test_a_model_without_any_consumer_carries_the_distribution_too(tmp_path):
    head = dict(type='LinearClsHead', num_classes=3, in_channels=8, _delete_=True)
    runner = trained(tmp_path, **{'model.head': head})
    assert runner.model.class_distribution.get() == ClassDistribution(COUNTS)
    checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert ClassDistribution.from_state_dict(checkpoint['state_dict']) == ClassDistribution(COUNTS)


def test_explicit_counts_by_class_name(tmp_path):
    cfg = toy_config(tmp_path, **{'train_cfg.max_epochs': 1})
    cfg.custom_hooks[0].class_counts = {'class 2': 1, 'class 0': 3, 'class 1': 2}
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.model.head.get_class_distribution() == ClassDistribution([3, 2, 1])


def test_a_head_for_another_number_of_classes_stops_before_the_first_batch(tmp_path):
    with pytest.raises(ClassDistributionError, match='LongTailClsHead: expected .* 4 entries, but got 3'):
        trained(tmp_path, **{'model.head.num_classes': 4})


def test_fine_tuning_takes_the_new_data_not_the_checkpoints(tmp_path):
    trained(tmp_path / 'old')
    new = {'train_dataloader.dataset.counts': (8, 8, 16), 'load_from': str(tmp_path / 'old' / 'epoch_1.pth')}
    assert trained(tmp_path / 'new', **new).model.head.get_class_distribution() == ClassDistribution([8, 8, 16])
