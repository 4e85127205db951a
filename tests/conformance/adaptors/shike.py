"""SHIKE: the losses of both stages, and their schedule."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from toy import ROOT, read_config

from ltmm.models.losses import LossInputs
from ltmm.registry import MODELS, PARAM_SCHEDULERS

from ..frame import Case, adaptor

WEIGHTS = {'ht_weight': 'hard_weight', 'hard_weight': 'hard_weight', 'mutual_weight': 'mutual_weight'}
SETTINGS = WEIGHTS | {'target_fill': 'target_fill'}


@adaptor('shike')
def shike(case: Case) -> dict[str, Tensor]:
    given = {ours: case.params[name] for name, ours in SETTINGS.items() if name in case.params}
    second = read_config(ROOT / 'configs/cifar100_lt/shike_r32.py').model.head.loss
    second.loss.class_counts = case.arrays['class_counts'].tolist()
    outputs = {}
    for stage, cfg in enumerate((dict(given, type='ltmm.SHIKELoss'), second), 1):
        logits = case['logits'].requires_grad_()
        value = sum(MODELS.build(cfg)(LossInputs(case['target'], expert_logits=logits)).values())
        value.backward()
        outputs |= {f'loss_stage{stage}': value, f'grad_stage{stage}': logits.grad}
    return outputs


@adaptor('shike_lr')
def shike_lr(case: Case) -> dict[str, Any]:
    base, peak, num_epochs = case.params['base_lr'], case.params['warmup_lr'], case.params['T_max']
    warm_up, cosine = read_config(ROOT / 'configs/cifar100_lt/shike_r32_stage1.py').param_scheduler
    warm_up |= warm_up_of(base, peak, case.params['warmup_epochs'])
    cosine |= dict(begin=case.params['warmup_epochs'], end=num_epochs)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=peak)
    schedulers = [PARAM_SCHEDULERS.build(dict(cfg, optimizer=optimizer)) for cfg in (warm_up, cosine)]
    rates = np.zeros(num_epochs)
    for epoch in range(num_epochs):
        rates[epoch] = optimizer.param_groups[0]['lr']
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return dict(lr_per_epoch=rates)


def warm_up_of(base: float, peak: float, num_epochs: int) -> Mapping[str, Any]:
    """Settings of the warm-up: the base rate in the second epoch, the peak ``num_epochs`` after the first."""
    first = base - (peak - base) / (num_epochs - 1)
    return dict(start_factor=first / peak, end=num_epochs + 1)
