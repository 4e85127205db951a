"""Multi-label classification: losses and average precision."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ltmm.class_distribution import ClassDistribution
from ltmm.evaluation.reports.multi_label_report import MultiLabelReport
from ltmm.registry import METRICS, MODELS

from ..frame import Case, adaptor

SEED = dict(seed='of the random inputs, which are in the arrays')


def db_options(params: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of DistributionBalancedLoss for those of the authors' loss."""
    reweight, focal = params['reweight_func'], dict(params['focal'])  # read in full: without `focal` the rest is unused
    options = dict(reweight=reweight, weight_norm=params.get('weight_norm'), **params['logit_reg'])
    if reweight == 'rebalance':
        options |= {
            ours: params['map_param'][name] for name, ours in dict(alpha='alpha', beta='beta', gamma='mu').items()
        }
    elif reweight == 'CB':
        options |= dict(cb_beta=params['CB_loss']['CB_beta'], cb_mode=params['CB_loss']['CB_mode'])
    return options | (dict(focal_gamma=focal['gamma'], balance=focal['balance_param']) if focal['focal'] else {})


def build_db(case: Case) -> Any:
    """The distribution-balanced loss of the case."""
    case.check('sigmoid', case.params['use_sigmoid'], True)
    counts = dict(instance_counts=case.arrays['class_freq'], num_images=int(case.arrays['num_train']))
    cfg = dict(type='ltmm.DistributionBalancedLoss', reduction='none', class_counts=counts)
    return MODELS.build(dict(cfg, **db_options(case.params)))


OTHER_WEIGHTS = dict.fromkeys(('map_param*', 'CB_loss*'), 'of weights that are not in use')  # read where they are


@adaptor('db_loss', ignores=dict(SEED, variant='a name for what the other hyper-parameters say', **OTHER_WEIGHTS))
def db_loss(case: Case) -> dict[str, Any]:
    loss = build_db(case)
    target = case['targets'].double()
    weight = loss.weights(target).expand_as(target)
    neg_scale = torch.where(target == 1, 1, loss.neg_scale)
    logits = case['logits'].requires_grad_()
    losses = loss(logits, target)  # (N, C)
    losses.mean().backward()
    return dict(
        weight_before_ntr=weight,
        logits_after_ntr=(logits.detach() + loss.shift) * neg_scale,
        weight_after_ntr=weight / neg_scale,
        loss_elementwise=losses if case.params['focal']['focal'] else np.zeros(0),  # [1] returns the mean there
        loss_mean=losses.mean(),
        grad_logits=logits.grad,
    )


@adaptor('multilabel_baselines', ignores=SEED)
def multilabel_baselines(case: Case) -> dict[str, Any]:
    gamma, balance = case.params['gamma'], case.params['balance_param']
    kind = case.params['kind']
    cfg = dict(
        focal=dict(type='ltmm.MultiLabelFocalLoss', gamma=gamma, balance=balance, reduction='none'),
        bce=dict(type='ltmm.MultiLabelBCELoss'),
        kpos=dict(type='ltmm.KPositiveCELoss'),
    )[kind]
    logits = case['logits'].requires_grad_()
    out = MODELS.build(cfg)(logits, case['targets'])
    out.mean().backward()
    return dict(out=out, loss_mean=out.mean(), grad_logits=logits.grad)


@adaptor('asl', ignores=dict(SEED, class_counts='what the labels were drawn with'))
def asl(case: Case) -> dict[str, Any]:
    params = case.params
    options = {key: params[key] for key in ('gamma_neg', 'gamma_pos')}
    if case.arrays['targets'].ndim == 1:
        reduction = 'mean' if params['reduction'] == 'mean' else 'none'  # the authors know no sum
        loss = dict(type='ltmm.ASLSingleLabelLoss', smoothing=params['eps'], reduction=reduction, **options)
    else:
        options |= {'eps': params['eps']} if 'eps' in params else {}
        detach = params['disable_torch_grad_focal_loss']
        loss = dict(type='ltmm.ASLLoss', clip=params['clip'], detach_focus=detach, **options)
    return case.loss_and_grad(MODELS.build(loss), label='targets')


PARTIAL_MODES = {None: 'negative', 'ignore_normalize_classes': 'ignore_normalize'}


@adaptor('partial_asl', ignores=dict(SEED, prior_path='of the file of the prior, which is in the arrays'))
def partial_asl(case: Case) -> dict[str, Any]:
    params = case.params
    names = dict(pos='pos', neg='neg', unann='unknown')
    cfg = {
        f'{kind}_{ours}': params[f'{kind}_{theirs}'] for kind in ('gamma', 'alpha') for theirs, ours in names.items()
    }
    mode = PARTIAL_MODES.get(params['partial_loss_mode'], params['partial_loss_mode'])
    topk, threshold = params['likelihood_topk'], params['prior_threshold']
    if mode == 'selective':
        cfg |= dict(topk=topk, prior_threshold=threshold)
    if 'prior' in case:
        num_images = 10**9
        counts = np.round(case.arrays['prior'] * num_images).astype(int)
        cfg |= dict(class_counts=dict(instance_counts=counts, num_images=num_images))
    loss = MODELS.build(dict(type='ltmm.PartialASLLoss', mode=mode, clip=params['clip'], **cfg))
    return case.loss_and_grad(loss, label='targets')


@adaptor('hill_loss', ignores=SEED)
def hill_loss(case: Case) -> dict[str, Any]:
    options = dict(lambda_=case.argument('lamb', 1.5), margin=case.argument('margin', 1.0))
    loss = MODELS.build(dict(type='ltmm.HillLoss', gamma=case.argument('gamma', 2.0), **options))
    return case.loss_and_grad(loss, label='targets')


@adaptor('multilabel_map', ignores=SEED)
def multilabel_map(case: Case) -> dict[str, Any]:
    distribution = ClassDistribution(case.arrays['train_counts'], num_images=10**6)
    names = tuple(map(str, range(len(distribution))))
    match = re.search(r'shot_mAP\(counts, ?y, ?s, ?(\d+), ?(\d+)\)', case.called)
    thresholds = tuple(map(int, match.groups())) if match else (100, 20)
    metric = METRICS.build(dict(type='ltmm.MultiLabelMetric', thresholds=thresholds, class_counts=distribution))
    report = MultiLabelReport.from_scores(
        case.arrays['scores'], case.arrays['targets'], 0.5, names, distribution.image_counts, metric.shots
    )
    theirs = replace(
        report, ap=100 * case.arrays['ap_asl']
    ).figures()  # shot_map is of their AP, whose ties are by position
    return dict(
        ap_sklearn=np.nan_to_num(report.ap) / 100,
        shot_map=np.array([theirs[name] for name in ('mAP', 'head', 'medium', 'tail')]),
    )
