"""Methods of several experts on their CIFAR network."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from toy import ROOT, read_config

from ..adaptors.experts import our_name
from ..frame import Case, adaptor
from .frame import Given, Training, given, train
from .weights import TRANSPOSED, draw_state

NAMES_ONLY = {
    'loss.type': "the authors' name of the loss",
    'arch.returns_feat': 'what their network returns besides the logits',
}
LOSS_ARGUMENTS = dict(
    additional_diversity_factor='diversity_factor',
    reweight_factor='reweight_factor',
    reweight_epoch='reweight_epoch',  # weights where the epoch from 1 is greater: from this epoch on, counted from 0
    distill_temperature='distill_temperature',
    tau='tau',
    tau_list='taus',
    max_m='max_margin',
)
CHANNELS = {True: (16, 24, 48), False: (16, 32, 64)}  # by reduce_dimension
UNUSED_BY_MDCS = ('linear_head', 'linear_few', 'mlp')


@adaptor('trajectory_ride', ignores=NAMES_ONLY)
def ride(case: Case) -> dict[str, Any]:
    return _compare(case, _train(case, given(case), 'ride_r32', _loss(case)))


@adaptor('trajectory_ride_distill', ignores=NAMES_ONLY, slow=True)
def ride_distill(case: Case) -> dict[str, Any]:
    assert case.params['loss']['args']['reweight']  # a reweight_epoch says so in ltmm
    teacher = read_config(ROOT / 'configs/cifar100_lt/ride_r32_6experts.py')
    teacher.merge_from_dict(_network(case, 'teacher_arch') | {'model.head.num_classes': case.params['num_classes']})
    with TemporaryDirectory() as folder:
        checkpoint = Path(folder, 'teacher.pth')
        torch.save(_teacher(case), checkpoint)
        overrides = {'model.teacher': dict(teacher.model, _delete_=True), 'model.teacher_checkpoint': str(checkpoint)}
        training = _train(case, given(case), 'ride_distill_r32', _loss(case) | overrides)
    with torch.no_grad():
        teacher_logits = training.start.teacher(training.images(0))
    return _compare(case, training) | dict(teacher_logits_step0=teacher_logits)


@adaptor('trajectory_sade', ignores=NAMES_ONLY)
def sade(case: Case) -> dict[str, Any]:
    return _compare(case, _train(case, given(case), 'sade_r32', _loss(case)))


@adaptor('trajectory_balpoe', ignores=NAMES_ONLY)
def balpoe(case: Case) -> dict[str, Any]:
    lambdas, permutations, alpha = case.arrays['mixup_lambda'], case['mixup_perm'], case.params['mixup_alpha']
    draws = np.random.RandomState(case.params['seed_m'])
    case.check('mixup_lambda', draws.beta(alpha, alpha, len(lambdas)), lambdas)
    case.check('mixup_perm', [draws.permutation(len(order)) for order in permutations], permutations)
    with (
        mock.patch('numpy.random.beta', side_effect=lambdas.tolist()),
        mock.patch('torch.randperm', side_effect=permutations),
    ):
        overrides = _loss(case) | {'model.train_cfg.augments.alpha': alpha}
        training = _train(case, given(case), 'balpoe_r32', overrides)
    terms = [training.losses[f'loss_expert{e}'] for e in range(case.params['arch']['num_experts'])]
    images = training.images(0)
    mixed = lambdas[0] * images + (1 - lambdas[0]) * images[permutations[0]]
    with torch.no_grad():
        logits = _expert_logits(training.start, mixed)
    return _compare(case, training) | dict(train_logits_step0=logits, loss_expert=np.transpose(terms) * len(terms))


@adaptor(
    'trajectory_mdcs',
    ignores=NAMES_ONLY | {'loss': "the authors' code does not use tau, its only argument"},
    slow=True,
)
def mdcs(case: Case) -> dict[str, Any]:
    data = given(case, num_views=2)
    for name in [name for name in data.weights if name.startswith(UNUSED_BY_MDCS)]:
        data.unused[name] = data.weights.pop(name)
    return _compare(case, _train(case, data, 'mdcs_r32_200e'))


def _train(case: Case, data: Given, config: str, overrides: Mapping[str, Any] = {}) -> Training:
    changes = {**_network(case, 'arch'), **_schedule(case.params['lr_scheduler']), **overrides}
    return train(data, f'cifar100_lt/{config}.py', our_name, changes)


def _compare(case: Case, training: Training) -> dict[str, Any]:
    outputs = training.compare(case, _expert_logits)
    return outputs | dict(eval_expert_logits=outputs['eval_logits'], eval_logits=training.predict())


def _expert_logits(model: nn.Module, images: Tensor) -> Tensor:
    """(N, E, C)."""
    return model.head.expert_logits(model.extract_feat(images)).transpose(0, 1)


def _loss(case: Case) -> dict[str, Any]:
    args = case.params['loss']['args']
    return {f'model.head.loss.{LOSS_ARGUMENTS[name]}': args[name] for name in args if name in LOSS_ARGUMENTS}


def _network(case: Case, name: str) -> dict[str, Any]:
    arch = case.params[name]
    channels, num_experts = CHANNELS[arch['reduce_dimension']], arch['num_experts']
    assert arch['use_norm']  # as the configs have it
    return {
        'model.backbone.depth': case.params['depth'],
        'model.backbone.channels': channels,
        'model.backbone.num_experts': num_experts,
        'model.head.in_channels': channels[-1],
        'model.head.num_experts': num_experts,
    }


def _schedule(scheduler: Mapping[str, Any]) -> dict[str, Any]:
    """Linear warm-up that starts at its first step, and two drops."""
    warmup = scheduler['warmup_epoch']
    return {
        'param_scheduler.0.start_factor': 1 / warmup,
        'param_scheduler.0.end': warmup,
        'param_scheduler.1.milestones': [scheduler['step1'], scheduler['step2']],
        'param_scheduler.1.gamma': scheduler['gamma'],
    }


def _teacher(case: Case) -> dict[str, Tensor]:
    """The state dict of the teacher."""
    entries = case.params['init_teacher']
    weights = draw_state(entries, case.params['seed_t'])
    rules = {name: rule for _, name, _, rule in entries}
    return {our_name(name): x.T if rules[name] in TRANSPOSED else x for name, x in weights.items()}
