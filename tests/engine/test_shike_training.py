"""SHIKE through its stages: experts, then new classifiers on the frozen experts; resumed in either stage."""

import pytest
import torch
from toy import ROOT, read_config, toy_config
from toy_stages import run, run_and_stop

EPOCHS = 2  # of either stage, with 8 iterations


def stage_config(recipe):
    """The network, losses, hooks and momentum of a shipped stage; weight decay so large that it cannot be missed."""
    cfg = toy_config('', **{'train_cfg.max_epochs': EPOCHS})
    cfg.pop('work_dir'), cfg.pop('experiment_name')
    cfg.model.backbone = dict(recipe.model.backbone, depth=8, channels=(4, 8, 16), num_experts=2)
    cfg.model.head = dict(recipe.model.head, num_classes=3, in_channels=16, num_experts=2)
    cfg.custom_hooks = recipe.custom_hooks
    cfg.optim_wrapper = recipe.optim_wrapper
    cfg.optim_wrapper.optimizer.weight_decay = 0.1
    cfg.param_scheduler = None
    return cfg


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp('configs')
    first, second = (stage_config(read_config(ROOT / f'configs/cifar100_lt/shike_r32{s}.py')) for s in ('_stage1', ''))
    second.optim_wrapper.optimizer.lr = 1e-3
    first.dump(folder / 'first.py')
    second.stages = [dict(type='ltmm.TrainStage', config=str(folder / 'first.py')), dict(type='ltmm.TrainStage')]
    second.dump(folder / 'second.py')
    return folder / 'second.py'


def checkpoint(folder) -> dict:
    return torch.load(folder / f'epoch_{EPOCHS}.pth', weights_only=True)


@pytest.fixture(scope='module')
def straight(config, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('straight')
    run(config, work_dir)
    return {folder.name: checkpoint(folder) for folder in sorted(work_dir.glob('stage*'))}


def test_second_stage_trains_new_classifiers_alone(straight):
    first, second = (stage['state_dict'] for stage in straight.values())
    moved = {name for name in first if not torch.equal(first[name], second[name])}
    norms = {name for name in first if name.endswith(('running_mean', 'running_var', 'num_batches_tracked'))}
    classifiers = {f'head.fc.experts.{e}.weight' for e in range(2)}
    assert moved == norms | classifiers
    assert len([*straight.values()][1]['optimizer']['state']) == len(classifiers)
    for name in classifiers:  # drawn anew: at this learning rate they hardly turn
        assert torch.cosine_similarity(first[name].flatten(), second[name].flatten(), dim=0) < 0.9


@pytest.mark.parametrize('stage', [1, 2])
def test_resume_in_the_second_epoch_is_exact(config, straight, tmp_path, stage):
    run_and_stop(config, tmp_path, stage, at_iter=11)
    run(config, tmp_path)
    for name, expected in straight.items():
        resumed = checkpoint(tmp_path / name)
        for part in ('state_dict', 'optimizer'):
            torch.testing.assert_close(resumed[part], expected[part], rtol=0, atol=0)
