"""ROG and NorCal: ranking of objects, calibration of their scores."""

from functools import partial
from typing import Any

import torch

from ltmm.registry import MODELS

from ..frame import Case, adaptor


@adaptor(
    'rog_gap',
    ignores=dict(eps='a constant of gap_loss'),
)
def rog_gap(case: Case) -> dict[str, Any]:
    params = case.params
    loss = MODELS.build(
        dict(
            type='ltmm.GAPLoss',
            num_classes=params['num_classes'],
            gamma=params['gamma'],
            delta=params['delta_RS'],
            loss_weight=params['lam'],
        )
    ).eval()
    loss.seen.counts[:-1] = torch.from_numpy(case.arrays['num_samples'])
    got = case.loss_and_grad(loss, label='labels', grad='grad')
    base = MODELS.build(dict(type='ltmm.SigmoidCrossEntropyLoss'))
    bce = case.loss_and_grad(base, label='labels', grad='grad')
    return dict(
        **got,
        bce_loss=bce['loss'],
        bce_grad=bce['grad'],
        scores=base.get_activation(case['logits']),
    )


@adaptor('norcal')
def norcal(case: Case) -> dict[str, Any]:
    params = case.params
    factor = dict(gamma='power', cb='effective_number')[params['method']]
    step = MODELS.build(
        dict(
            type='ltmm.NorCal',
            gamma=params['gamma'],
            factor=factor,
            on=params['calibrate_on'],
            renorm=params['renorm'],
            class_counts=case.arrays['image_count'],
        )
    )
    case.check('num_classes', len(step.get_class_distribution()), params['num_classes'])
    return dict(scores=step(case['logits'], partial(torch.softmax, dim=1)))
