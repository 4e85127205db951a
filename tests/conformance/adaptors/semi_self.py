"""Rethinking the Value of Labels: counts, sampler, schedule, rotations and one step of MoCo."""

from fractions import Fraction
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmpretrain.registry import PARAM_SCHEDULERS
from toy import ROOT, read_config

from ltmm.datasets.wrappers.long_tailed import counts_of_total, long_tailed_counts
from ltmm.models.classifiers.rotation_pretrainer import draw_quarter_turns, rotated
from ltmm.models.losses.contrastive.momentum_contrast_loss import contrast_logits
from ltmm.models.state import FeatureQueue, KeyEncoder

from ..frame import Case, adaptor
from .data import InMemory, sampler_over


@adaptor('imbalanced_semi_self', ignores=dict(seed='of what is stored'))
def imbalanced_semi_self(case: Case) -> dict[str, Any]:
    compute = _moco if 'wq' in case else _rotation if 'images' in case else _training_set
    return compute(case)


def _training_set(case: Case) -> dict[str, Any]:
    params, num_classes, sampled = case.params, case.params['num_classes'], case.arrays['sampler_counts']
    factor, unlabeled_factor = (1 / Fraction(params[f'imb_factor{part}']) for part in ('', '_unlabel'))
    per_class = params['n_total'] / num_classes
    labeled = long_tailed_counts(per_class, num_classes, factor)
    dataset = InMemory(np.repeat(np.arange(num_classes), sampled).tolist(), num_classes)
    weights, theirs = (
        sampler_over(dataset, type='ltmm.EffectiveNumberSampler', beta=0.9999).sample_probability(),
        case.arrays['sampler_weights'],
    )
    case.check('sampler weights', weights, theirs / theirs.sum())
    return dict(
        labeled_counts=labeled,
        step_counts=long_tailed_counts(per_class, num_classes, factor, 'step'),
        unlabeled_counts=counts_of_total(labeled.sum() * params['unlabel_size_factor'], num_classes, unlabeled_factor),
        lr_schedule=_rates(params['base_lr']),
    )


def _rates(base_lr: float) -> list[float]:
    """Rate of each epoch by the config of the pre-training."""
    cfg, rates = read_config(ROOT / 'configs/cifar100_lt/rotation_r32_pretrain.py'), []
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=base_lr)
    schedulers = [PARAM_SCHEDULERS.build(dict(scheduler, optimizer=optimizer)) for scheduler in cfg.param_scheduler]
    for _ in range(cfg.train_cfg.max_epochs):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def _rotation(case: Case) -> dict[str, Any]:
    np.random.seed(case.params['numpy_seed'])
    target = draw_quarter_turns(len(case['images']))
    return dict(target=target, rotated=rotated(case['images'], target))


def _moco(case: Case) -> dict[str, Any]:
    params = case.params
    case.check('batch', len(case['x_q']), params['batch'])
    query, key = (torch.nn.Linear(case['wq'].size(1), params['dim']) for _ in 'qk')
    for layer, name in ((query, 'q'), (key, 'k')):
        layer.load_state_dict(dict(weight=case[f'w{name}'], bias=case[f'b{name}']))
    encoder, queue = KeyEncoder(key, params['m']), FeatureQueue(params['K'], params['dim'])
    encoder.steps += 1  # the copy has been made
    queue.update(case['queue_before'].T)
    encoder.update(query)
    q = F.normalize(query(case['x_q']), dim=1)
    k = F.normalize(encoder(case['x_k']), dim=1)
    logits = contrast_logits(q, k, queue.features, queue.filled, params['T'])
    loss = F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.int64))
    loss.backward()
    queue.update(k)
    return dict(
        logits=logits,
        labels=torch.zeros(len(logits)),
        loss=loss,
        grad_wq=query.weight.grad,
        wk_after=encoder.module.weight,
        queue_after=queue.features.T,
        ptr_after=queue.cursor.view(1),
    )
