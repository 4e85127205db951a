"""MiSLAS: mixup, then label-aware smoothing with a learnable scale per class on the network of the first stage."""

from collections.abc import Mapping
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from toy import ROOT, read_config

from ..adaptors.experts import our_name
from ..frame import Case, adaptor
from .frame import Given, Training, train
from .weights import cifar_depth, compare_state, draw_state, rule_of_name

SCALE = 'lws_model.learned_norm'


@adaptor('trajectory_mislas')
def mislas(case: Case) -> dict[str, Any]:
    entries = [(i, name, shape, rule_of_name(name, shape)) for i, name, shape in case.params['state'] if name != SCALE]
    weights = draw_state(entries, case.params['seed_w'])
    first = _train_first(case, weights)
    scale = torch.ones(len(case.params['counts']), dtype=torch.float64)
    compare_state(case, 'stage1', [*first.state(first.end).values(), scale])
    second = _train_second(case, {**weights, SCALE: scale}, first)
    compare_state(case, 'final', second.state(second.end).values())
    logits, loss = second.predict(), second.end.head.loss_module
    return dict(
        loss1=first.losses['loss'],
        lr1=first.lr,
        eval_logits_stage1=first.predict(),
        smooth=loss.smoothing,
        loss2=second.losses['loss'],
        lr2=_rates(second),
        eval_logits=logits,
        eval_loss=loss(logits, case['eval_label']),
        learned_norm=second.end.head.fc.scale.unsqueeze(0),
    )


def _train_first(case: Case, weights: dict[str, Tensor]) -> Training:
    params, (lam, perm) = case.params['stage1'], (case.arrays['lam'].tolist(), [*case['perm']])
    overrides = {
        'model.backbone.depth': cifar_depth(case.params['state']),
        'model.train_cfg.augments.alpha': params['alpha'],
    }
    if params['cos']:
        overrides['param_scheduler'] = [dict(type='CosineAnnealingLR')]
    with (
        mock.patch.object(np.random, 'beta', lambda *_: lam.pop(0)),
        mock.patch.object(torch, 'randperm', lambda _: perm.pop(0)),
    ):
        given = _given(case, params, case.arrays['epoch1'], case.arrays['label1'], weights=weights)
        training = train(given, 'cifar100_lt/mislas_r32_stage1.py', _our_name, overrides)
    assert not lam and not perm
    return training


def _train_second(case: Case, weights: dict[str, Tensor], first: Training) -> Training:
    params, config = case.params['stage2'], 'cifar100_lt/mislas_r32.py'
    hooks = [hook.type for hook in read_config(ROOT / 'configs' / config).custom_hooks]
    given = _given(
        case,
        params,
        case.arrays['epoch2'],
        case.arrays['label2'],
        weights=weights,
        first_step=len(case.arrays['label1']),
        loaded=first.end.state_dict(),
    )
    overrides = {
        'model.backbone.depth': cifar_depth(case.params['state']),
        'model.head.loss.smooth_head': params['smooth_head'],
        'model.head.loss.smooth_tail': params['smooth_tail'],
        'optim_wrapper.paramwise_cfg.custom_keys': {'head.fc': dict(lr_mult=params['lr_factor'])},
        f'custom_hooks.{hooks.index("ltmm.FreezeHook")}.norm_eval': not params['shift_bn'],
    }
    return train(given, config, _our_name, overrides)


def _given(case: Case, params: Mapping[str, Any], epochs: np.ndarray, labels: np.ndarray, **kwargs: Any) -> Given:
    case.check('labels', labels.shape[1], case.params['batch'])
    return Given(
        class_counts=case.params['counts'],
        labels=labels.tolist(),
        epoch_of_step=epochs.tolist(),
        max_epochs=params['num_epochs'],
        seed_x=case.params['seed_x'],
        optimizer={name: params[name] for name in ('lr', 'momentum', 'weight_decay')},
        transposed=set(),
        **kwargs,
    )


def _our_name(name: str) -> str:
    if name == SCALE:
        return 'head.fc.scale'
    return our_name(name.removeprefix('model.').replace('classifier.fc', 'linear'))


def _rates(training: Training) -> np.ndarray:
    """Rates of classifier and scale, (steps, 2)."""
    weight, bias, scale = (training.lr_of(f'head.fc.{name}') for name in ('weight', 'bias', 'scale'))
    assert weight == bias
    return np.column_stack([weight, scale])
