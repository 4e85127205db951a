import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from toy import COUNTS, Stopped, toy_config
from toy_processes import run_on_two_ranks

from ltmm.datasets.samplers.class_members import ClassMembers
from ltmm.engine.hooks.curriculum_hook import draw_trials
from ltmm.registry import HOOKS


def curriculum_config(work_dir, threshold=0.3, **options):
    cfg = toy_config(work_dir, **options)
    cfg.train_dataloader.dataset.pipeline.insert(1, dict(type='ltmm.CurriculumAugment'))
    cfg.custom_hooks.append(dict(type='ltmm.CurriculumHook', num_images=4, threshold=threshold))
    return cfg


def trained(cfg) -> Runner:
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def checkpoint(folder, epoch: int = 4) -> dict:
    return torch.load(folder / f'epoch_{epoch}.pth', weights_only=True)['state_dict']


def test_trials():
    members, levels = ClassMembers(np.array([5, 6, 7, 2, 3]), np.array([3, 0, 2])), np.array([2, 4, 0])
    samples, classes, strengths = draw_trials(members, levels, 10, np.random.default_rng(0))
    numbers = np.zeros((3, 5), int)
    np.add.at(numbers, (classes, strengths), 1)
    assert numbers.tolist() == [[10, 20, 30, 0, 0], [0] * 5, [10, 0, 0, 0, 0]]
    assert set(samples[classes == 0]) == {5, 6, 7} and set(samples[classes == 2]) == {2, 3}


def test_levels_follow_the_accuracy(tmp_path):
    easy, hard = (trained(curriculum_config(tmp_path / name, threshold)) for name, threshold in (('a', 0), ('b', 1)))
    assert easy.model.curriculum.values.max() > 0  # right now and then
    assert easy.model.curriculum.values.max() <= 4  # one step per epoch
    assert not hard.model.curriculum.values.any()
    for runner in (easy, hard):
        augment = runner.train_dataloader.dataset.pipeline.transforms[1]
        assert augment.levels.is_shared() and augment.strength is None
        assert torch.equal(augment.levels, runner.model.curriculum.values)


def test_the_check_leaves_the_training_as_it_is(tmp_path):
    """At level 0 nothing is augmented: the training equals one without the hook, except for draws of the transform."""
    checked = trained(curriculum_config(tmp_path / 'checked', threshold=1))
    cfg = curriculum_config(tmp_path / 'plain')
    cfg.custom_hooks.pop()
    plain = Runner.from_cfg(cfg)
    plain.train_loop.dataloader.dataset.pipeline.transforms[1].levels = torch.zeros(len(COUNTS), dtype=torch.int64)
    plain.train()
    state = checked.model.state_dict()
    assert not state.pop('curriculum.values').any()
    torch.testing.assert_close(state, plain.model.state_dict(), rtol=0, atol=0)


def test_resume_equals_never_stopped(tmp_path):
    trained(curriculum_config(tmp_path / 'straight'))
    stopped = curriculum_config(tmp_path / 'stopped')
    stopped.custom_hooks.append(dict(type='ltmm.StopHook', at_iter=17))
    with pytest.raises(Stopped):
        Runner.from_cfg(stopped).train()
    before = checkpoint(tmp_path / 'stopped', 2)['curriculum.values']
    trained(curriculum_config(tmp_path / 'stopped', resume=True, experiment_name='resumed'))
    straight, resumed = checkpoint(tmp_path / 'straight'), checkpoint(tmp_path / 'stopped')
    torch.testing.assert_close(straight, resumed, rtol=0, atol=0)
    assert before.any() and straight['curriculum.values'].any()

    tested = curriculum_config(tmp_path / 'test', load_from=str(tmp_path / 'straight/epoch_4.pth'))
    runner = Runner.from_cfg(tested)
    runner.test()
    assert torch.equal(runner.model.curriculum.values, straight['curriculum.values'])


@pytest.mark.slow
def test_two_processes_and_workers_find_the_same_levels(tmp_path):
    """Without training, and so with the same weights, all levels are equal; workers see them."""
    frozen = {'optim_wrapper.optimizer.lr': 0.0, 'train_cfg.max_epochs': 3, 'randomness.seed': 4}
    configs = {}
    for name, workers in (('one', 0), ('workers', 2), ('two', 0)):
        cfg = configs[name] = curriculum_config(tmp_path / name, **frozen, **{'train_dataloader.num_workers': workers})
        cfg.model.backbone = dict(type='ltmm.FlatPixels')
        cfg.model.head.in_channels = 192
    trained(configs['one']), trained(configs['workers'])
    configs['two'].dump(tmp_path / 'two.py')
    run = run_on_two_ranks('tools/train.py', tmp_path / 'two.py')
    assert run.returncode == 0, run.stderr[-3000:]
    one, workers, two = (checkpoint(tmp_path / name, 3)['curriculum.values'] for name in configs)
    assert len(set(one.tolist())) > 1 and one.tolist() == workers.tolist() == two.tolist()


def test_training_by_iterations(tmp_path):
    cfg = curriculum_config(tmp_path, threshold=0)
    cfg.train_cfg = dict(by_epoch=False, max_iters=17)  # of 8 per epoch
    cfg.param_scheduler, cfg.default_hooks.checkpoint.by_epoch = None, False
    assert 0 < trained(cfg).model.curriculum.values.max() <= 3


def test_bad_input(tmp_path):
    for name, value in dict(num_images=0, threshold=1.5, max_level=31).items():
        with pytest.raises(ValueError, match=f'`{name}`'):
            HOOKS.build({'type': 'ltmm.CurriculumHook', name: value})
    cfg = curriculum_config(tmp_path)
    del cfg.train_dataloader.dataset.pipeline[1]
    with pytest.raises(ValueError, match='CurriculumAugment.* in the pipeline'):
        Runner.from_cfg(cfg).train()
