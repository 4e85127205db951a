"""LGLA on its grouped CIFAR network."""

from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from ltmm.models.losses.expert import lgla_loss

from ..adaptors.experts import grouped_name
from ..frame import Case, adaptor
from .frame import WORDS, given_views, train
from .weights import compare_state


@adaptor('trajectory_lgla', ignores=WORDS)
def lgla(case: Case) -> dict[str, Any]:
    params = case.params
    num_experts, counts = params['num_experts'], params['cls_num_list']
    data = given_views(case)
    data.max_epochs = params['steps']  # `epochs` says so in words
    weights, weight_of = [], lgla_loss.angular_weight
    with mock.patch.object(lgla_loss, 'angular_weight', lambda *args: weights.append(weight_of(*args)) or weights[-1]):
        training = train(data, 'cifar100_lt/lgla_r32.py', grouped_name, _overrides(case))
    end = training.state(training.end)
    compare_state(case, 'state_final', (end[name] for _, name, *_ in params['state_dict']))
    region = lgla_loss.frequency_regions(np.array(counts), num_experts - 1)
    for r, (low, high) in enumerate(params['regions'][: num_experts - 1]):
        case.check('regions', [low < n <= high for n in counts], region == r)
    expert_logits = training.predict(_expert_logits)
    names = [*(f'loss_local{e}' for e in range(num_experts - 1)), 'loss_global']
    first = case['labels'][0]
    return dict(
        loss=training.losses['loss'],
        loss_expert=torch.tensor([training.losses[name] for name in names]).T,
        lr=training.lr,
        angular_weight=torch.stack(weights),
        eval_output=training.predict(),
        eval_expert_logits=expert_logits,
        eval_loss_with_labels_of_step_0=nn.functional.cross_entropy(expert_logits.mean(0), first).view(1),
    )


def _overrides(case: Case) -> dict[str, Any]:
    params = case.params
    overrides = {
        'model.backbone.depth': None,
        'model.backbone.stage_blocks': params['blocks'],
        'model.backbone.num_experts': params['num_experts'],
        'model.head.num_experts': params['num_experts'],
        'model.head.classifier.scale': params['scale'],
        'model.head.loss.num_experts': params['num_experts'],
        'model.head.loss.scale': params['scale'],
        'model.head.loss.tau': params['tau'],
    }
    schedule = params['lr_scheduler']
    if schedule['type'] == 'warmup':
        return overrides | {
            'param_scheduler.0.end': schedule['warmup_epoch'] + 1,
            'param_scheduler.1.milestones': schedule['lr_step'],
            'param_scheduler.1.gamma': schedule['lr_factor'],
        }
    cosine = dict(type=schedule['type'], T_max=schedule['T_max'], eta_min=schedule['eta_min'])
    return overrides | {'param_scheduler': [cosine]}


def _expert_logits(model: nn.Module, images: Tensor) -> Tensor:
    """(E, N, C)."""
    return model.head.expert_logits(model.extract_feat(images))
