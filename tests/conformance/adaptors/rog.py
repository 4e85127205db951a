"""ROG, NorCal, FRACAL and LogN: ranking of objects, calibration of their scores."""

from functools import partial
from typing import Any

import numpy as np
import torch

from ltmm.models.post_process import LogitMoments, fractal_dimensions, frequency_weights
from ltmm.models.post_process.logn import MIN_VARIANCE
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


@adaptor('fracal', ignores=dict(seed='inputs are given', rois='same', spread='boxes are given'))
def fracal(case: Case) -> dict[str, Any]:
    params = case.params
    if params['kind'] == 'dimension':
        corner, size = (
            np.stack([case.arrays[name] for name in names], 1) for names in (('xmin', 'ymin'), ('width', 'height'))
        )
        label = case.arrays['category'] - 1
        num = len(params['instances'])
        case.check('instances', np.bincount(label, minlength=num), params['instances'])
        return dict(dimension=fractal_dimensions(corner + size / 2, label, num, params['grid']))
    step = MODELS.build(
        dict(
            type='ltmm.FRACAL',
            fractal_weight=params['lambda'],
            base=dict(base10=10, base2=2, raw=np.e)[params['variant']],
            dimensions=params['dimensions'],
            class_counts=dict(
                instance_counts=params['image_counts'],
                image_counts=params['image_counts'],
                num_images=params['num_images'],
            ),
        )
    )
    distribution = step.get_class_distribution()
    case.check('num_classes', len(distribution), params['num_classes'])
    weight = frequency_weights(distribution.image_counts, distribution.num_images, step.base)
    activation = torch.sigmoid if params['use_sigmoid'] else partial(torch.softmax, dim=1)
    logits = case['logits']
    return dict(
        weights=np.pad(weight, (0, case.arrays['weights'].size - len(weight))),
        scores_before=activation(logits),
        scores=step(logits, activation, params['use_sigmoid']),
    )


@adaptor(
    'logn',
    ignores=dict(
        seed='inputs are given',
        train_output_last='training does not see the correction',
        running_mean_after_eval='a buffer that the first evaluation of [1] overwrites',
    ),
)
def logn(case: Case) -> dict[str, Any]:
    params, c = case.params, case.params['num_classes']
    mean, variance = np.zeros(c + 1), np.ones(c + 1)  # of momentum, from the exact moments of each batch
    for seed in params['seed_x'] + np.arange(params['batches']):
        noise = np.random.RandomState(seed).standard_normal((params['rois'], c + 1))
        moments = LogitMoments()
        moments.update(torch.from_numpy(case.arrays['loc'] + case.arrays['spread'] * noise))
        mean += params['momentum'] * (moments.mean.numpy() - mean)
        variance += params['momentum'] * (moments.variance.numpy() - variance)
    std = np.sqrt(np.maximum(case.arrays['running_var'], MIN_VARIANCE))[:c]
    step = MODELS.build(dict(type='ltmm.LogN', mean=case.arrays['running_mean'][:c].tolist(), std=std.tolist()))
    logits, softmax = case['logits'], partial(torch.softmax, dim=1)
    return dict(
        running_mean=mean,
        running_var=variance,
        scores_before=softmax(logits),
        logits_after=step.correct_logits(logits, uses_sigmoid=False),
        scores=step(logits, softmax),
    )
