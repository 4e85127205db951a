"""Federated learning: the split of the data, the proxy of the class counts, groups, averages, losses of clients."""

from typing import Any

import numpy as np
from torch import Tensor

from ltmm.models.losses import LossInputs
from ltmm.registry import MODELS
from ltmm.tasks.federated import (
    class_growth,
    client_class_counts,
    dirichlet_partition,
    estimate_counts,
    fedavg,
    group_clients,
    total_counts,
)

from ..frame import Case, adaptor

DRAWN = {'seed': 'what the inputs were drawn with'}


@adaptor('fed_partition')
def fed_partition(case: Case) -> dict[str, Any]:
    params, labels = case.params, case.arrays['labels']
    num_classes = params['num_classes']
    case.check('labels', np.bincount(labels, minlength=num_classes), params['class_counts'])
    settings = {name: params[name] for name in ('num_clients', 'alpha', 'min_size')}
    clients = dirichlet_partition(labels, **settings, generator=params['seed'])
    sizes, owner = [*map(len, clients)], np.zeros(len(labels), dtype=int)
    owner[np.concatenate(clients)] = np.repeat(np.arange(len(clients)), sizes)
    return dict(
        owner=owner,
        client_class_counts=client_class_counts(labels, clients, num_classes),
        client_sizes=sizes,
        client_index_order=np.concatenate(clients),
    )


@adaptor('fed_gbme', ignores=DRAWN)
def fed_gbme(case: Case) -> dict[str, Any]:
    if 'expert_logits' in case:
        return _loss(case)
    if 'global_weight' in case:
        return _proxy(case)
    if 'score' in case:
        return _groups(case)
    names = [name for name in ('a', 'b') if name in case]
    states = [dict(zip(names, values)) for values in zip(*(case[name] for name in names))]
    return {f'avg_{name}': value for name, value in fedavg(states, case.arrays['sizes'].tolist()).items()}


def _loss(case: Case) -> dict[str, Tensor]:
    logits, expert = case['expert_logits'].requires_grad_(), case.params['training_exp']
    case.check('num_experts', len(logits), case.params['num_experts'])
    loss = MODELS.build(dict(type='ltmm.GBMELoss', class_counts=case.arrays['class_counts']))
    loss.set_expert(None if expert is None else int(expert))
    value = sum(loss(LossInputs(case['targets'], expert_logits=logits)).values())
    value.backward()
    return dict(loss=value, grad_experts=logits.grad)


def _proxy(case: Case) -> dict[str, Tensor]:
    before, after, num_samples = case['global_weight'], case['local_weight'], case['client_sizes']
    case.check('num_experts', len(before), case.params['num_experts'])
    if before.size(1) != case.arrays['est_total_counts'].size:  # stored as (E, D, C)
        before, after = before.transpose(-1, -2), after.transpose(-1, -2)
    counts = estimate_counts(class_growth(before, after), num_samples)
    return dict(est_client_counts=counts, est_total_counts=total_counts(counts))


def _groups(case: Case) -> dict[str, Any]:
    counts, total = case.arrays['est_client_counts'], case.arrays['est_total_counts']
    groups = group_clients(counts, total, case.params['num_groups'])
    order, group_id = np.concatenate(groups), np.zeros(len(counts), dtype=int)
    group_id[order] = np.repeat(np.arange(len(groups)), [*map(len, groups)])
    case.check('score', (counts @ total / counts.sum(1))[order], case.arrays['score'])
    return dict(order=order, group_id=group_id)


BASELINES = dict(
    cb=dict(type='ltmm.ClassBalancedLoss', loss_type='focal', beta=0.99, gamma=0.8),
    focal=dict(type='ltmm.SoftmaxFocalLoss', gamma=0.5, detach_focus=True),
    prior_ce=dict(type='ltmm.LADELoss', alpha=0.0),
    lade=dict(type='ltmm.LADELoss', alpha=1.0, ce_weight=0.0),
)


@adaptor('fed_baselines', ignores=DRAWN)
def fed_baselines(case: Case) -> dict[str, Tensor]:
    assert not case.params['args'], 'defaults of the published code'
    cfg, counts = BASELINES[case.name.rpartition('_')[0]], case.arrays['class_counts'].tolist()
    if cfg['type'] != 'ltmm.SoftmaxFocalLoss':
        cfg = dict(cfg, class_counts=counts)
    return case.loss_and_grad(MODELS.build(cfg), label='targets')
