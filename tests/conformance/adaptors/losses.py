"""Balanced losses of classification: weights, focal losses, margins, logit adjustment."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltmm.registry import MODELS

from ..frame import Case, adaptor


def build(case: Case, **cfg: Any) -> torch.nn.Module:
    """A part of ltmm under the class counts of the case."""
    return MODELS.build(dict(cfg, class_counts=case.params['cls_num_list']))


def with_weights(case: Case, loss: dict, **cfg: Any) -> torch.nn.Module:
    """The loss with weights by effective numbers, or as it is where the case has no beta for them."""
    beta = case.params['weight_beta']
    if beta is None:
        return MODELS.build(loss)
    return build(case, type='ltmm.ReweightedLoss', loss=loss, kind='effective_number', beta=beta, **cfg)


def class_weight(loss: torch.nn.Module) -> Tensor | np.ndarray:
    """The weights of a loss, (C,); empty where it has none, as the authors' numbers say it."""
    return getattr(loss, 'class_weight', np.zeros(0))


def renamed(outputs: dict[str, Any], prefix: str) -> dict[str, Any]:
    """``{'loss': ...}`` as ``{'<prefix>_loss': ...}``."""
    return {f'{prefix}_{name}': value for name, value in outputs.items()}


# ------------------------------------------------------------------ margins and logit adjustment


@adaptor('ldam')
def ldam(case: Case) -> dict[str, Any]:
    counts, scale = case.params['cls_num_list'], case.params['s']
    inner = dict(type='ltmm.LDAMLoss', max_margin=case.params['max_m'], scale=scale, class_counts=counts)
    loss = with_weights(case, inner)
    return dict(case.loss_and_grad(loss, 'x'), m_list=MODELS.build(inner).margin, weight=class_weight(loss))


@adaptor('logit_adjustment')
def logit_adjustment(case: Case) -> dict[str, Any]:
    tau = case.params['tau']
    loss = build(case, type='ltmm.LogitAdjustmentLoss', tau=tau)
    post_process = build(case, type='ltmm.LogitAdjustment', tau=tau)
    return dict(
        case.loss_and_grad(loss),
        base_probs=loss.get_class_distribution().prior,
        posthoc_logits=post_process(case['logits'], None, None),
    )


@adaptor('vs_loss')
def vs_loss(case: Case) -> dict[str, Any]:
    strengths = dict(gamma=case.params['gamma'], tau=case.params['tau'])
    inner = dict(type='ltmm.VSLoss', class_counts=case.params['cls_num_list'], **strengths)
    loss, plain = with_weights(case, inner), MODELS.build(inner)
    return dict(case.loss_and_grad(loss), iota=plain.offset, delta=plain.divisor, weight=class_weight(loss))


@adaptor('livt_bal_bce')
def livt_bal_bce(case: Case) -> dict[str, Any]:
    kind, tau, smoothing = case.called, case.params['bal_tau'], case.params['smoothing']
    if case.arrays['target'].ndim == 2:
        smoothing = 0.0  # the authors' Mixup has smoothed soft labels before
    if 'Bal_CE' in kind:
        cfg = dict(type='ltmm.BalancedSoftmaxLoss', tau=tau)
    elif "'CB'" in kind:
        cfg = dict(type='ltmm.ClassBalancedBCELoss')
    elif "'Bal'" in kind:
        cfg = dict(type='ltmm.BalancedBCELoss')
    else:
        cfg = dict(type='ltmm.BalancedBCELoss', tau=0.0)
    return case.loss_and_grad(build(case, smoothing=smoothing, **cfg))


# ------------------------------------------------------------------ weights


@adaptor('drw_effective_number_weights')
def drw_effective_number_weights(case: Case) -> dict[str, Tensor]:
    counts, start = case.params['cls_num_list'], 3
    loss = build(
        case,
        type='ltmm.DeferredReweighting',
        loss=dict(type='mmpretrain.CrossEntropyLoss', reduction='none'),
        start_epoch=start,
        kind='effective_number',
        beta=case.params['beta'],
    )
    label = torch.arange(len(counts))
    score = torch.zeros(len(counts), len(counts), dtype=case.dtype)  # of cross entropy log C
    weights = []
    for epoch in (start - 1, start):
        loss.set_progress(epoch, 2 * start)
        weights.append(loss(score, label) / np.log(len(counts)))
    return dict(drw_pre=weights[0], drw_post=weights[1])


@adaptor('focal_softmax_ldamrepo')
def focal_softmax_ldamrepo(case: Case) -> dict[str, Any]:
    inner = dict(type='ltmm.SoftmaxFocalLoss', gamma=case.params['gamma'])
    loss = with_weights(case, inner, normalize='batch_size')
    case.check('number of classes', case['logits'].size(1), len(case.params['cls_num_list']))
    return dict(case.loss_and_grad(loss), weight=class_weight(loss))


@adaptor('class_balanced_loss')
def class_balanced_loss(case: Case) -> dict[str, Any]:
    logits, outputs = case['logits'], {}
    gamma = dict(focal=case.params['gamma'])
    for kind in ('softmax', 'sigmoid', 'focal'):
        cfg = dict(type='ltmm.ClassBalancedLoss', loss_type=kind, beta=case.params['beta'], gamma=gamma.get(kind))
        loss = build(case, **cfg)
        prob = logits.softmax(1) if kind == 'softmax' else logits.sigmoid()
        outputs |= renamed(dict(case.loss_and_grad(loss, grad='grad'), prob=prob), kind)
    return dict(outputs, weights=loss.class_weight)


def bag_of_tricks(case: Case) -> Iterator[tuple[str, torch.nn.Module, Tensor]]:
    """Name, loss and weights (C,) of each loss of the case."""
    focal = dict(type='ltmm.SigmoidFocalLoss', gamma=case.params['focal_gamma'])
    cross_entropy = dict(type='mmpretrain.CrossEntropyLoss')
    for name, cfg in dict(inv=dict(kind='inverse'), sqrtinv=dict(kind='sqrt_inverse')).items():
        loss = build(case, type='ltmm.ReweightedLoss', loss=cross_entropy, **cfg)
        yield name, loss, loss.class_weight / loss.class_weight.max()  # the weighted mean takes any factor out
    loss = build(case, type='ltmm.ReweightedLoss', loss=focal, kind='inverse', power=0, normalize='batch_size')
    yield 'focal_sigmoid', loss, loss.class_weight
    loss = build(
        case, type='ltmm.ClassBalancedLoss', loss_type='focal', beta=case.params['cb_beta'], gamma=focal['gamma']
    )
    yield 'cb_focal', loss, loss.class_weight
    loss = build(case, type='ltmm.CDTLoss', gamma=case.params['cdt_gamma'])
    yield 'cdt', loss, loss.divisor


@adaptor('reweight_bagoftricks')
def reweight_bagoftricks(case: Case) -> dict[str, Any]:
    outputs = {}
    for name, loss, weight in bag_of_tricks(case):
        outputs |= renamed(dict(case.loss_and_grad(loss, grad='grad'), weight=weight), name)
    return outputs
