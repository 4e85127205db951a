"""TLC on its CIFAR network."""

from dataclasses import replace
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from ltmm.models.losses.expert import evidential_weights, tlc_loss

from ..adaptors.experts import our_name
from ..frame import Case, adaptor
from .frame import WORDS, given_views, train
from .weights import compare_state


@adaptor('trajectory_tlc', ignores=WORDS, slow=True)
def tlc(case: Case) -> dict[str, Any]:
    params, schedule = case.params, case.params['lr_scheduler']
    aggregation = dict(type='ltmm.EvidentialAggregation', eta=params['eta'], normalize='batch')
    overrides = {
        'model.backbone.depth': 2 + 2 * sum(params['blocks']),
        'model.backbone.num_experts': params['num_experts'],
        'model.head.num_experts': params['num_experts'],
        'model.head.aggregation': aggregation,
        'model.head.loss.max_margin': params['max_m'],
        'model.head.loss.reweight_epoch': params['reweight_epoch'],
        'model.head.loss.reweight_factor': params['reweight_factor'],
        'model.head.loss.kl_epochs': round(
            (params['reweight_epoch'] + params['annealing']) / params['reweight_factor']
        ),
        'model.head.loss.threshold': params['tau'],
        'param_scheduler.0.start_factor': 1 / schedule['warmup_epoch'],
        'param_scheduler.0.end': schedule['warmup_epoch'],
        'param_scheduler.1.milestones': [schedule['step1'], schedule['step2']],
        'param_scheduler.1.gamma': schedule['gamma'],
    }
    case.check('epochs', params['epochs'], range(1, params['steps'] + 1))
    given = replace(given_views(case), max_epochs=params['steps'])
    expert_logits, original = [], tlc_loss.engagement

    def recording(logits: Tensor, *args: Any) -> Tensor:
        expert_logits.append(logits.detach())
        return original(logits, *args)

    with mock.patch.object(tlc_loss, 'engagement', recording):
        training = train(given, 'cifar100_lt/tlc_r32.py', our_name, overrides)
    state = training.state(training.end)
    compare_state(case, 'state_final', (state[name] for _, name, _, _ in params['state_dict']))
    combine = training.end.head.aggregation
    ends = [expert_logits[0], expert_logits[-1]]
    last = training.predict(_expert_logits)
    return dict(
        loss=training.losses['loss'],
        lr=training.lr,
        train_expert_logits_first_last=torch.stack(ends),
        train_output_first_last=torch.stack([combine(logits) for logits in ends]),
        w_sum=torch.stack([evidential_weights(logits).sum(1) for logits in expert_logits]),
        eval_expert_logits=last,
        eval_output=training.predict(),
        eval_uncertainty=combine.uncertainty(last),
    )


def _expert_logits(model: nn.Module, images: Tensor) -> Tensor:
    """(E, N, C)."""
    return model.head.expert_logits(model.extract_feat(images))
