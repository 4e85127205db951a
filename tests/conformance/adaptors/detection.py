"""Object detection: losses of box heads."""

import itertools
from collections.abc import Mapping
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from ltmm import ClassDistribution
from ltmm.models.losses import LossInputs
from ltmm.models.losses.detection.bags_loss import sample_others
from ltmm.registry import MODELS

from ..frame import Case, adaptor


def checked_others(case: Case, target: Tensor, weight: Tensor, beta: float, drawn: Tensor) -> Tensor:
    """Return the drawn mask (N, G), once the objects in it and the number of others are those of ltmm."""
    ours = sample_others(target, weight, beta)
    case.check('others per group', ours.sum(0), drawn.sum(0))
    case.check('objects', ours & (target > 0), drawn.bool() & (target > 0))
    return drawn.bool()


@adaptor('eql')
def eql(case: Case) -> dict[str, Any]:
    params = case.params
    # The authors' numbers hold classes in more images than there are. They are head classes either way.
    image_counts = np.minimum(case.arrays['image_count'], params['num_images'])
    loss = MODELS.build(
        dict(
            type='ltmm.EQLLoss',
            lambda_=params['lambda_'],
            loss_weight=params['loss_weight'],
            num_classes=params['num_classes'],
            class_counts=ClassDistribution(image_counts, num_images=params['num_images']),
        )
    )
    case.check('freq', loss.get_class_distribution().image_frequency, np.minimum(case.arrays['freq'], 1))
    return dict(
        case.loss_and_grad(loss, label='labels', grad='grad'),
        scores=loss.get_activation(case['logits']),
    )


@adaptor('eqlv2')
def eqlv2(case: Case) -> dict[str, Any]:
    options = {name: case.params[name] for name in case.params if name not in ('num_classes', 'steps')}
    loss = MODELS.build(dict(type='ltmm.EQLv2Loss', **options))
    loss.get_cls_channels(case.params['num_classes'])
    got = {}
    for step in range(case.params['steps']):
        result = case.loss_and_grad(loss, wrt=f'logits{step}', label=f'labels{step}', grad=f'grad{step}')
        got[f'loss{step}'], got[f'grad{step}'] = result['loss'], result[f'grad{step}']
        got[f'pos_grad{step}'] = loss.gradients.positive.clone()
        got[f'neg_grad{step}'] = loss.gradients.negative.clone()
        got[f'pos_neg{step}'] = loss.gradient_ratio
    return dict(got, scores=loss.get_activation(case[f'logits{step}']))


@adaptor('loce_ebl')
def loce_ebl(case: Case) -> dict[str, Any]:
    num_classes, options = case.params['num_classes'], {}
    if 'loss_weight' in case.params:
        options['loss_weight'] = case.params['loss_weight']
    loss = MODELS.build(dict(type='ltmm.LOCELoss', feat_dim=1, num_memory_classes=0, **options))
    loss.get_cls_channels(num_classes)
    loss.double()
    loss.background_score = float(case['mean_score'][num_classes])
    loss.mean_scores.values.copy_(case['mean_score'][:num_classes])
    loss.eval()  # the mean scores are given
    score, label = case['logits'].requires_grad_(), case['labels']
    features = score.new_zeros(len(label), 1)
    terms = loss(
        LossInputs(
            label,
            score,
            features=features,
            classifier=torch.nn.Linear(1, num_classes + 1, dtype=torch.float64),
            weight=torch.ones_like(features[:, 0]),
            avg_factor=len(label),
            object_idx=torch.where(label < num_classes, torch.arange(len(label)), -1),
        )
    )
    terms['loss_cls'].backward()
    return dict(loss=terms['loss_cls'], grad=score.grad)


@adaptor('bacl_fcbl')
def bacl_fcbl(case: Case) -> dict[str, Any]:
    options = {name: case.params[name] for name in case.params if name not in ('num_classes', 'reweight')}
    reweight_epoch = 0 if case.params['reweight'] else None
    loss = MODELS.build(dict(type='ltmm.FCBLLoss', reweight_epoch=reweight_epoch, **options))
    loss.get_cls_channels(case.params['num_classes'])
    got = {}
    for step in itertools.takewhile(lambda step: f'logits{step}' in case, itertools.count()):
        result = case.loss_and_grad(loss, wrt=f'logits{step}', label=f'labels{step}', grad=f'grad{step}')
        got[f'loss{step}'], got[f'grad{step}'] = result['loss'], result[f'grad{step}']
        got[f'cm_numerator{step}'] = loss.confusion.scores.clone()
        got[f'num_gt{step}'] = loss.confusion.counts.clone()
    return got


@adaptor('ecm')
def ecm(case: Case) -> dict[str, Any]:
    num_classes = case.params['num_classes']
    loss = MODELS.build(
        dict(
            type='ltmm.ECMLoss',
            background_ratio=case.params['fg_bg_ratio'],
            num_classes=num_classes,
            class_counts=case.arrays['counts'].tolist(),
        )
    )
    loss.get_cls_channels(num_classes)
    return dict(
        case.loss_and_grad(loss, label='labels', grad='grad'),
        cls_weight=loss.weight[None],
        scores=loss.get_activation(case['logits']),
    )


@adaptor('federated')
def federated(case: Case) -> dict[str, Any]:
    params, num_classes = case.params, case.params['num_classes']
    loss = MODELS.build(
        dict(
            type='ltmm.FederatedLoss',
            num_sampled_classes=params['num_fed_classes'],
            power=params['freq_weight_power'],
            num_classes=num_classes,
            class_counts=case.arrays['image_count'].tolist(),
        )
    )
    loss.get_cls_channels(num_classes)
    label, drawn = case['labels'], loss.draw(case['labels'])  # our own draw, of the same kind
    case.check('size of the set', int(drawn.sum()), len(case.arrays['fed_classes']))
    case.check('labels in the set', bool(drawn[label].all()), True)
    weight = loss.log_weight.exp()
    case.check('weight', weight, case.arrays['image_count'].astype(float) ** params['freq_weight_power'])
    given = torch.zeros(num_classes + 1, dtype=torch.bool).index_fill(0, case['fed_classes'], True)
    loss.draw = lambda label: given
    return case.loss_and_grad(loss, label='labels', grad='grad')


@adaptor('seesaw')
def seesaw(case: Case) -> dict[str, Any]:
    options = {name: case.params[name] for name in case.params}
    loss = MODELS.build(dict(type='ltmm.SeesawLoss', **options))
    loss.get_cls_channels(options['num_classes'])
    loss.counts.counts.copy_(case['cum_samples_before'])
    got = {}
    for step in itertools.takewhile(lambda step: f'logits{step}' in case, itertools.count()):
        score = case[f'logits{step}'].requires_grad_()
        row = (case[f'label_weights{step}'], float(case[f'avg_factor{step}']))
        terms = loss(score, case[f'labels{step}'], *row)
        sum(terms.values()).backward()
        got[f'loss_objectness{step}'], got[f'loss_classes{step}'] = terms.values()
        got[f'grad{step}'], got[f'cum_samples{step}'] = score.grad, loss.counts.counts.clone()
    return dict(got, scores=loss.get_activation(case[f'logits{step}']))


@adaptor('bags', ignores=dict(group_ids='the groups, which `group_label_maps` tells too'))
def bags(case: Case) -> dict[str, Any]:
    params, drawn = case.params, case['group_weights'].T
    loss = MODELS.build(
        dict(
            type='ltmm.BalancedGroupSoftmaxLoss',
            group_bounds=params['bin_split'],
            beta=params['beta'],
            class_counts=case.arrays['instance_count'].tolist(),
            num_classes=params['num_classes'],
        )
    )
    case.check('num_channels', loss.get_cls_channels(params['num_classes']), params['num_channels'])
    score, columns = case['logits'].requires_grad_(), loss.group_columns  # theirs are in the order of the groups
    ours = torch.empty_like(score).index_copy(1, columns, score)
    of_rows = lambda target, weight, beta: checked_others(case, target, weight, beta, drawn)  # noqa: E731
    with mock.patch('ltmm.models.losses.detection.bags_loss.sample_others', of_rows):
        value = sum(loss(ours, case['labels']).values())
    value.backward()
    return dict(loss=value, grad=score.grad, group_label_maps=loss.group_target.T, scores=loss.get_activation(ours))


@adaptor('gol_gumbel')
def gol_gumbel(case: Case) -> dict[str, Any]:
    params = case.params
    distribution = ClassDistribution(
        np.minimum(case.arrays['image_count'], params['num_images']), num_images=params['num_images']
    )
    case.check('freq', distribution.image_frequency, np.minimum(case.arrays['freq'], 1))
    tail = dict(lambda_=params['lambda_'], class_counts=distribution, num_classes=params['num_classes'])
    losses = dict(
        ce=MODELS.build(dict(type='ltmm.GumbelCrossEntropyLoss')),
        gdrop=MODELS.build(dict(type='ltmm.DropLoss', activation='gumbel', **tail)),
        sdrop=MODELS.build(dict(type='ltmm.DropLoss', **tail)),
    )
    got = {}
    for name, loss in losses.items():
        logits = 'ce_logits' if name == 'ce' else 'drop_logits'
        with mock.patch.object(torch, 'rand_like', lambda score: case['uniform']):
            result = case.loss_and_grad(loss, wrt=logits, label='labels', grad='grad')
        got |= {f'{name}_loss': result['loss'], f'{name}_grad': result['grad']}
        if f'{name}_scores' in case:
            got[f'{name}_scores'] = loss.get_activation(case[logits])
    return got


def efl_options(params: Mapping) -> dict[str, Any]:
    """Return the arguments of EFL; those that the case leaves out are the defaults of both."""
    names = dict(focal_gamma='gamma', scale_factor='scale', focal_alpha='alpha', loss_weight='loss_weight')
    options = {ours: params[theirs] for theirs, ours in names.items() if theirs in params}
    if options.get('alpha', 0) < 0:
        options['alpha'] = None  # off
    return options


def anchors(target: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Return labels and weights of anchors; theirs are -1 for ignored, 0 for background, 1 to C for classes."""
    return (target.flatten().clamp(min=0) - 1) % (num_classes + 1), (target.flatten() >= 0).double()


@adaptor('efl', ignores=dict(levels='whose anchors lie side by side'))
def efl(case: Case) -> dict[str, Any]:
    params, num_classes = case.params, case.params['num_classes']
    options = efl_options(params)
    losses = {'': dict(options, type='ltmm.EqualizedFocalLoss')}
    without_alpha = {name: value for name, value in options.items() if name != 'alpha'}
    losses['q_'] = dict(without_alpha, type='ltmm.EqualizedQualityFocalLoss')
    got = {}
    for prefix, cfg in losses.items():
        loss = MODELS.build(cfg)
        loss.get_dense_channels(num_classes)
        for step in itertools.takewhile(lambda step: f'logits{step}' in case, itertools.count()):
            score = case[f'logits{step}'].requires_grad_()
            label, weight = anchors(case[f'targets{step}'], num_classes)
            label = (label, case[f'scores{step}'].flatten()) if prefix else label
            value = loss(score.flatten(0, 1), label, weight, float(case[f'normalizer{step}']))
            value.backward()
            got[f'{prefix}loss{step}'] = value.reshape(case.arrays[f'{prefix}loss{step}'].shape)
            got[f'{prefix}grad{step}'] = score.grad
            state = dict(pos_grad=loss.gradients.positive, neg_grad=loss.gradients.negative)
            state['pos_neg'] = loss.gradient_ratio
            for name, tensor in state.items():
                if f'{prefix}{name}{step}' in case:
                    got[f'{prefix}{name}{step}'] = tensor.clone()
    return got
