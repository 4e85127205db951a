"""CC-SAM: both stages, the second on the network of the first."""

from typing import Any
from unittest import mock

import numpy as np
from torch import Tensor

from ltmm.models.backbones import TwoBranchResNetCIFAR
from ltmm.models.losses.classification import cc_sam_loss
from ltmm.registry import MODELS

from ..adaptors.experts import our_name
from ..frame import Case, adaptor
from .frame import Given, Training, train
from .weights import cifar_depth, compare_state, draw_state, rule_of_name

UNUSED = ('cb_block.', 'rb_block.')
NAMES_ONLY = {
    'train.sampler': 'the labels of all batches are given',
    'train.mixup_alpha': 'the draws of all batches are given',
    'optimizer.type': 'SGD',
    'optimizer.lr_neck': 'the network has no neck',
    'lr_scheduler.type': 'warm-up and two drops',
}


@MODELS.register_module()
class TrunkResNetCIFAR(TwoBranchResNetCIFAR):
    """The two-branch network without the branches: its last stage has a block less, unless that is its only one."""

    def __init__(self, depth: int) -> None:
        super().__init__(depth)
        del self.branches

    def maps(self, x: Tensor) -> Tensor:
        return super(TwoBranchResNetCIFAR, self).maps(x)


@adaptor('trajectory_cc_sam', ignores=NAMES_ONLY)
def cc_sam(case: Case) -> dict[str, Any]:
    params = case.params['train']
    case.check('epoch', np.arange(params['max_epoch']), case.arrays['epoch'])
    recorded, original = [], cc_sam_loss.reduce_loss

    def recording(*args: Tensor) -> Tensor:
        recorded.append(original(*args).item())
        return original(*args)

    with mock.patch.object(cc_sam_loss, 'reduce_loss', recording):  # a term of weight 0 does not show in the log
        first = _train_first(case)
        second = _train_second(case, first)
    for prefix, training in (('stage1', first), ('final', second)):
        state = training.state(training.end)
        compare_state(case, prefix, (state[name] for _, name, _ in case.params['state']))
    return dict(
        loss=first.losses['loss'] + second.losses['loss'],
        loss_original=recorded[::2],
        loss_perturbed=recorded[1::2],
        lr=first.lr_of('head.fc.weight') + second.lr,
        class_weight=second.end.head.loss_module.class_weight,
        eval_logits=second.predict(),
    )


def _train_first(case: Case) -> Training:
    params, lambdas, schedule = case.params['train'], case.arrays['lam'], case.params['lr_scheduler']
    warmup, rates = schedule['warmup_epoch'], case.params['optimizer']
    overrides = {
        'model.backbone': _backbone(case),
        'model.head.loss.rho': params['noise_ratio'],
        'model.head.loss.flat_ratio': params['flat_ratio'],
        'param_scheduler.0.start_factor': 1 / 3 + 2 / 3 / warmup,
        'param_scheduler.0.end': warmup,
        'param_scheduler.1.milestones': [epoch - 1 for epoch in schedule['lr_step']],
        'param_scheduler.1.gamma': schedule['lr_factor'],
        **({} if params['mixup'] else {'model.train_cfg': None}),
        'optim_wrapper.paramwise_cfg': dict(custom_keys={'head': dict(lr_mult=rates['lr_cls'] / rates['lr'])}),
    }
    with (
        mock.patch('numpy.random.beta', side_effect=lambdas.tolist()),
        mock.patch('torch.randperm', side_effect=case['perm']),
    ):
        return train(_given(case, range(params['stage'])), 'cifar100_lt/cc_sam_r32_stage1.py', _our_name, overrides)


def _train_second(case: Case, first: Training) -> Training:
    params = case.params['train']
    data = _given(case, range(params['stage'], params['max_epoch']))
    data.optimizer['lr'] *= 0.1  # as the config has it
    data.loaded = first.end.state_dict()
    overrides = {
        'model.backbone': _backbone(case),
        'model.head.loss.step_size': case.params['adver_reg'],
        'model.head.loss.max_ratio': params['up_limit'],
        'model.head.loss.weight_divisor': params['div'],
    }
    return train(data, 'cifar100_lt/cc_sam_r32.py', _our_name, overrides)


def _given(case: Case, epochs: range) -> Given:
    params, optimizer = case.params, case.params['optimizer']
    entries = [(i, name, shape, rule_of_name(name, shape)) for i, name, shape in params['state']]
    weights = draw_state(entries, params['seed_w'])
    labels = case.arrays['label'][epochs.start : epochs.stop]
    case.check('batch', labels.shape[1], params['batch'])
    return Given(
        class_counts=params['counts'],
        labels=labels.tolist(),
        epoch_of_step=range(len(epochs)),
        max_epochs=len(epochs),
        seed_x=params['seed_x'],
        optimizer=dict(lr=optimizer['lr'], momentum=optimizer['momentum'], weight_decay=optimizer['wc']),
        weights={name: value for name, value in weights.items() if not name.startswith(UNUSED)},
        unused={name: value for name, value in weights.items() if name.startswith(UNUSED)},
        transposed=set(),
        first_step=epochs.start,
    )


def _backbone(case: Case) -> dict[str, Any]:
    return dict(type='ltmm.TrunkResNetCIFAR', depth=cifar_depth(case.params['state']), _delete_=True)


def _our_name(name: str) -> str:
    return our_name(name.replace('classifier.fc', 'linear'))
