"""COMIC: multi-focal modifier, label corrector, head-tail balancer, causal cosine classifiers."""

import re
from typing import Any

import torch
from torch import Tensor

from ltmm.registry import MODELS

from ..frame import Case, adaptor


def modifier_config(case: Case, **options: Any) -> dict[str, Any]:
    """The modifier under the counts of the case, with the co-occurrence where the case has one."""
    form = 'prior' if 'co_occurrence' in case else 'multi_grained'
    if form == 'prior':
        options['co_occurrence'] = case.arrays['co_occurrence']
    return dict(type='ltmm.MultiFocalModifierLoss', form=form, class_counts=case.arrays['class_counts'], **options)


@adaptor('comic_mfm', ignores=dict(seed='what the inputs were drawn with'))
def comic_mfm(case: Case) -> dict[str, Tensor]:
    options = {name: case.params[name] for name in ('gamma_neg', 'gamma_pos', 'clip', 'eps', 'detach_focus')}
    if 'gamma_class_ng' in case.params:
        options['boost'] = case.params['gamma_class_ng']
    loss = MODELS.build(modifier_config(case, **options))
    return dict(case.loss_and_grad(loss, label='targets'), class_weight=loss.class_weight)


HIDDEN = {'full_targets_*': 'the labels before some were hidden, which no loss sees'}


@adaptor('comic_rlc', ignores=dict(seed='what the inputs were drawn with', **HIDDEN))
def comic_rlc(case: Case) -> dict[str, Tensor]:
    names = dict(tau='threshold', compute_epoch='start_epoch')
    options = {names.get(name, name): case.params[name] for name in case.params if name != 'seed'}
    options['start_epoch'] -= 1  # the authors count epochs from 1
    loss = MODELS.build(
        dict(type='ltmm.ReflectiveLabelCorrectorLoss', class_counts=case.arrays['class_counts'], **options)
    )
    outputs = dict(weight_init=loss.class_weight)
    epochs = re.search(r'epochs \(([\d, ]+)\)', case.called)[1].split(',')
    for step, epoch in enumerate(epochs):
        loss.set_progress(int(epoch) - 1, max_epochs=10**6)
        cls_score = case[f'logits_{step}'].requires_grad_()
        value = loss(cls_score, case[f'targets_{step}'])
        value.backward()
        found = dict(
            loss=value,
            grad_logits=cls_score.grad,
            weight=loss.class_weight,
            distribution=(loss.counts + loss.recalled).long(),
        )
        outputs |= {f'{name}_{step}': array for name, array in found.items()}
    return outputs


@adaptor('comic_htb', ignores=dict(seed='what the inputs were drawn with'))
def comic_htb(case: Case) -> dict[str, Tensor]:
    defaults = dict(gamma_neg=3.0, gamma_pos=0.0, clip=0.05)
    inner = modifier_config(case, **{name: case.argument(name, value) for name, value in defaults.items()})
    gamma = case.argument('gamma', 2.0)
    loss = MODELS.build(dict(type='ltmm.HeadTailBalancerLoss', gamma=gamma, loss=inner))
    scores = {name: case[f'{name}_logits'].requires_grad_() for name in ('head', 'tail', 'balanced')}
    value = loss(**scores, target=case['targets'])
    value.backward()
    return dict({f'grad_{name}': score.grad for name, score in scores.items()}, loss=value)


@adaptor('comic_classifier', ignores=dict(seed='what the inputs were drawn with'))
def comic_classifier(case: Case) -> dict[str, Tensor]:
    outputs = {}
    for mode in ('head', 'tail', 'balanced'):
        weight = case['weight']
        layer = MODELS.build(
            dict(
                type='ltmm.CausalCosine',
                mode=mode,
                in_features=weight.size(1),
                out_features=len(weight),
                scale=case.params['tau'],
                num_heads=case.params['num_head'],
                alpha=case.params['alpha'],
                gamma=case.params['gamma'],
            )
        ).eval()  # in training the features would move the embedding first
        layer.weight.data = weight
        if layer.embedding is not None:
            layer.embedding.total = case['embed']
        x = case['features'].requires_grad_()
        plain, moved = layer.with_moved(x)
        (moved * torch.linspace(-1, 1, moved.numel(), dtype=moved.dtype).view_as(moved)).sum().backward()
        found = dict(y=plain, y_moved=moved, grad_x=x.grad, grad_w=layer.weight.grad)
        outputs |= {f'{mode}_{name}': value for name, value in found.items()}
    return outputs
