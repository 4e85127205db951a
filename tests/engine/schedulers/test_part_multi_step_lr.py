import pytest
import torch
from mmengine.optim import build_optim_wrapper

from ltmm.registry import PARAM_SCHEDULERS


def wrapper(**custom_keys):
    model = torch.nn.ModuleDict({name: torch.nn.Linear(1, 1) for name in ('a', 'b')})
    cfg = dict(optimizer=dict(type='Adam', lr=1.0), paramwise_cfg=dict(custom_keys=custom_keys))
    return model, build_optim_wrapper(model, cfg)


def rates(model, optimizer, scheduler, epochs):
    found = {name: [] for name in model}
    for _ in range(epochs):
        by_parameter = {id(group['params'][0]): group['lr'] for group in optimizer.param_groups}
        for name in model:
            found[name].append(by_parameter[id(model[name].weight)])
        optimizer.step()
        scheduler.step()
    return found


def test_milestones_of_parts():
    model, optimizer = wrapper(b=dict(lr_mult=0.5, milestones=[1, 3]))
    scheduler = PARAM_SCHEDULERS.build(dict(type='PartMultiStepLR', optimizer=optimizer, milestones=[2]))
    found = rates(model, optimizer, scheduler, epochs=5)
    assert found['a'] == pytest.approx([1, 1, 0.1, 0.1, 0.1])
    assert found['b'] == pytest.approx([0.5, 0.05, 0.05, 0.005, 0.005])


def test_resume():
    model, optimizer = wrapper(b=dict(milestones=[1, 3]))
    cfg = dict(type='PartMultiStepLR', milestones=[2])
    scheduler = PARAM_SCHEDULERS.build(dict(cfg, optimizer=optimizer))
    rates(model, optimizer, scheduler, epochs=2)
    fresh_model, fresh = wrapper(b=dict(milestones=[1, 3]))
    fresh_scheduler = PARAM_SCHEDULERS.build(dict(cfg, optimizer=fresh))
    fresh.load_state_dict(optimizer.state_dict())
    fresh_scheduler.load_state_dict(scheduler.state_dict())
    assert rates(fresh_model, fresh, fresh_scheduler, 3)['b'] == rates(model, optimizer, scheduler, 3)['b']


def test_convert_to_iter_based():
    _, optimizer = wrapper()
    cfg = dict(type='PartMultiStepLR', milestones=[2], convert_to_iter_based=True, epoch_length=10)
    with pytest.raises(ValueError, match='convert_to_iter_based'):
        PARAM_SCHEDULERS.build(dict(cfg, optimizer=optimizer))
