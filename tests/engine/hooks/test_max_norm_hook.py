import pytest
import torch
from mmengine.runner import Runner
from toy import Stopped, toy_config

from ltmm.engine.hooks.max_norm_hook import norm_between


def config(folder, **overrides):
    cfg = toy_config(folder, **overrides)
    cfg.model.head.init_cfg = dict(type='Normal', layer='Linear', std=1.0)
    cfg.custom_hooks.append(dict(type='ltmm.MaxNormHook'))
    return cfg


def test_bound_is_between_the_norms():
    weight = torch.tensor([[3.0, 4.0], [0.0, 1.0], [6.0, 8.0]])
    assert norm_between(weight, 0.1) == pytest.approx(1 + 0.1 * 9)


def test_projects_after_every_epoch_and_resumes_with_the_first_bound(tmp_path):
    runner = Runner.from_cfg(config(tmp_path / 'straight'))
    start = []
    runner.model.head.fc.register_forward_pre_hook(lambda fc, _: start.append(fc.weight.detach().clone()))
    runner.train()
    bound = norm_between(start[0], 0.1)
    assert start[0].norm(dim=1).max() > bound
    assert runner.model.head.fc.weight.norm(dim=1).max() <= bound * (1 + 1e-6)
    assert runner.model.head.fc.bias.abs().sum() > 0

    stopped = config(tmp_path / 'stopped')
    stopped.custom_hooks.append(dict(type='ltmm.StopHook', at_iter=17))  # the first of the third epoch
    with pytest.raises(Stopped):
        Runner.from_cfg(stopped).train()
    saved = torch.load(tmp_path / 'stopped/epoch_2.pth', weights_only=False)
    assert saved['state_dict']['head.fc.weight'].norm(dim=1).max() <= bound * (1 + 1e-6)
    resumed = Runner.from_cfg(config(tmp_path / 'stopped', resume=True, experiment_name='resumed_max_norm'))
    resumed.train()
    torch.testing.assert_close(resumed.model.state_dict(), runner.model.state_dict(), rtol=0, atol=0)


def test_training_by_iterations(tmp_path):
    """Projects after every pass over the data and after the last iteration, before the checkpoint is saved."""
    cfg = config(tmp_path)
    cfg.train_cfg = dict(by_epoch=False, max_iters=20, val_interval=20)  # of 8 per epoch
    cfg.param_scheduler = None
    cfg.default_hooks.checkpoint.update(by_epoch=False, interval=4, max_keep_ckpts=-1)
    runner = Runner.from_cfg(cfg)
    runner.train()
    bound = runner.message_hub.get_info('max_norm') * (1 + 1e-6)
    saved = {i: torch.load(tmp_path / f'iter_{i}.pth', weights_only=False)['state_dict'] for i in (4, 8, 12, 16, 20)}
    bounded = [i for i, state in saved.items() if state['head.fc.weight'].norm(dim=1).max() <= bound]
    assert bounded == [8, 16, 20]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [(dict(position=1.5), r'`position` to be in \[0, 1\]'), (dict(parameter='head.f'), "has no parameter 'head.f'")],
)
def test_bad_input(tmp_path, arguments, message):
    cfg = config(tmp_path)
    cfg.custom_hooks[-1].update(arguments)
    with pytest.raises(ValueError, match=message):
        Runner.from_cfg(cfg).train()
