"""TABASCO: separation and selection of clean samples, and one step of MixMatch."""

from typing import Any
from unittest import mock

import numpy as np
import torch
from mmpretrain.structures import DataSample

from ltmm.models.classifiers import CoDivideClassifier
from ltmm.models.classifiers.co_divide_classifier import mix_rows, mixmatch_terms
from ltmm.models.selectors.bi_dimensional_selector import separate
from ltmm.models.state.co_divide_step import CoDivideStep
from ltmm.registry import MODELS

from ..frame import Case, adaptor

__all__ = ['co_divide_classifier']

BRANCH = 'selection_stable_over_gmm_seeds'


def co_divide_classifier(num_classes: int, in_channels: int, backbone: dict, **options: Any) -> CoDivideClassifier:
    """The classifier of a config, in float64."""
    head = dict(
        type='ltmm.MultiExpertClsHead',
        num_classes=num_classes,
        in_channels=in_channels,
        num_experts=2,
        loss=dict(type='ltmm.PerExpertLoss', loss=dict(type='CrossEntropyLoss')),
    )
    selector = dict(type='ltmm.BiDimensionalSelector')
    model = dict(type='ltmm.CoDivideClassifier', backbone=backbone, head=head, selector=selector, **options)
    return MODELS.build(model).double()


@adaptor(
    'tabasco',
    ignores=dict(
        seed='of what is stored',
        noise_rate='noisy labels are stored',
        noise_type='noisy labels are stored',
        true_counts='the authors only print them',
        true_label='the authors only print them',
    )
    | {BRANCH: 'said of the authors'},
)
def tabasco(case: Case) -> dict[str, Any]:
    return _mixmatch(case) if 'perm' in case else _selection(case)


def _selection(case: Case) -> dict[str, Any]:
    params, gmm = case.params, dict(case.params['gmm'])
    assert gmm.pop('n_components') == 2
    selector = MODELS.build(
        dict(type='ltmm.BiDimensionalSelector', batch_size=params['batch_size_of_class_loaders'], **gmm)
    )
    features, label = case['features'], case['noisy_label']
    logits = features @ case['weight'].T + case['bias']
    center = selector.center(features)
    parts = separate(features.double(), logits.double(), label, selector.batch_size, center.double())
    selected, probability = selector.select(features, logits, label, np.random.RandomState(params['gmm_numpy_seed']))
    order = label.argsort(stable=True).numpy()  # class by class
    index = order[selected[order]]
    measured = dict(wjsd=parts.wjsd, acd=parts.acd, selected_prob=probability[index])
    for name, value in measured.items():  # the authors compute them in float32, and store float64
        case.check(name, value, case.arrays[name].astype(np.float32))
    return dict(
        avg_pred=parts.mean_prob,
        avg_pred_2=parts.emphasized_prob,
        feat_mean=center,
        centroid=parts.centroids,
        centroid_num=parts.counts,
        selected_index=index,
    )


def _mixmatch(case: Case) -> dict[str, Any]:
    params, label = case.params, case['label']
    num, num_classes = len(label), case['w1'].size(0)
    model = co_divide_classifier(
        num_classes,
        case['w1'].size(1),
        dict(type='ltmm.IdentityBackbone'),
        warmup_epochs=params['warm_up'],
        temperature=params['T'],
        alpha=params['alpha'],
        unlabeled_weight=params['lambda_u_max'],
        rampup_epochs=params['rampup'],
    ).train()
    for k, layer in enumerate(model.head.fc.experts):
        layer.load_state_dict(dict(weight=case[f'w{k + 1}'], bias=case[f'b{k + 1}']))
    model.set_progress(params['epoch'], params['epoch'] + 1)
    model.step = CoDivideStep(0, num_labeled=num)
    model.clean = model.clean.double()
    model.clean.resize(2 * num)
    model.clean.values[:num, 1] = case['w_x'].float()
    views = torch.stack([torch.cat([case[f'x{v}'], case[f'u{v}']]) for v in (1, 2)])
    samples = [
        DataSample(metainfo=dict(sample_idx=i)).set_gt_label(int(label[i % num])) for i in range(2 * num)
    ]  # labels of unlabeled images are not used
    drawn = max(params['beta_draw'], 1 - params['beta_draw']), case['perm']
    case.check('mix_lambda', drawn[0], case['mix_lambda'])
    with mock.patch.object(model, 'draw', lambda num: drawn), mock.patch.object(np.random, 'beta', _beta(params)):
        assert CoDivideClassifier.draw(model, 4 * num)[0] == drawn[0]
        terms = model.loss(views.flatten(0, 1), samples)
    targets_x, targets_u = model.targets(0, views[:, :num], views[:, num:], label, model.clean.values[:num, 1])
    loss = sum(value for name, value in terms.items() if 'loss' in name)
    loss.backward()
    first = model.head.fc.experts[0]
    images = torch.cat([*views[:, :num], *views[:, num:]])
    logits = first(mix_rows(images, *drawn))
    mixed = mix_rows(torch.cat([targets_x, targets_x, targets_u, targets_u]), *drawn)
    plain = mixmatch_terms(logits, mixed, 2 * num)
    return dict(
        targets_x=targets_x,
        targets_u=targets_u,
        mixed_target=mixed,
        logits=logits,
        Lx=terms['loss_labeled'],
        Lu=plain['loss_unlabeled'],
        lambda_u=terms['unlabeled_weight'],
        penalty=terms['loss_penalty'],
        loss=loss,
        grad_w1=first.weight.grad,
        grad_b1=first.bias.grad,
    )


def _beta(params: Any) -> Any:
    def beta(a: float, b: float) -> float:
        assert a == b == params['alpha']
        return params['beta_draw']

    return beta
