"""OLTR: cross entropy, then memory, attention and centroid loss on the network of the first stage."""

from collections.abc import Mapping
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from ltmm.models.layers import meta_embedding

from ..frame import Case, adaptor
from .frame import Given, Training, train
from .weights import compare_state, draw_state, rule_of_name

OUR_PARTS = {
    'feat_model.modulatedatt': 'neck.0',
    'feat_model.fc_add': 'neck.1.fc',
    'feat_model': 'backbone',
    'classifier.fc_hallucinator': 'head.fc.hallucinator',
    'classifier.fc_selector': 'head.fc.selector',
    'classifier.cosnorm_classifier': 'head.fc',
    'classifier.fc': 'head.fc',
    'criterion': 'head.fc',
}


@adaptor('trajectory_oltr', ignores={'stage?.num_epochs': 'the steps end long before'})
def oltr(case: Case) -> dict[str, Any]:
    params = case.params
    config = 'places_lt/oltr_r152' if params['stage2']['fix'] else 'imagenet_lt/oltr_r10'
    assert params['stage2']['use_fc'] and not params['stage1']['fix']  # as the configs have it
    first = _train_first(case, f'{config}_stage1.py')
    second, reachability = _train_second(case, f'{config}.py', first)
    compare_state(case, 'stage1', first.state(first.end).values())
    compare_state(case, 'stage2_start', second.state(second.start).values())
    compare_state(case, 'final', second.state(second.end).values())
    return dict(
        stage1_loss=first.losses['loss'],
        stage1_lr=_rates(first)[:, :2],
        stage1_eval_logits=first.predict(),
        centroids_start=second.start.head.fc.centroids[:, :8],
        stage2_loss=second.losses['loss'],
        stage2_loss_performance=second.losses['loss_cls'],
        stage2_loss_feature=second.losses['loss_centroids'],
        stage2_lr=_rates(second)[:, :2],
        stage2_lr_centroids=_rates(second)[:, 2],
        stage2_reachability=reachability,
        eval_logits=second.predict(),
        eval_features=second.predict(_features)[:, :16],
        centroids_end=second.end.head.fc.centroids[:, :8],
    )


def _train_first(case: Case, config: str) -> Training:
    params = case.params['stage1']
    entries = [(i, name, shape, rule_of_name(name, shape)) for i, name, shape in case.params['state']['stage1']]
    given = _given(case, params, case.arrays['label1'], weights=draw_state(entries, case.params['seed_w']))
    overrides = {'model.neck.in_channels': 512} if params['use_fc'] else {}
    return train(given, config, _name_in_first_stage, overrides | _network_and_rates(params))


def _train_second(case: Case, config: str, first: Training) -> tuple[Training, list[Tensor]]:
    params, state, seed = case.params['stage2'], case.params['state'], case.params['seed_w'] + 500
    new = [(i, name, shape) for i, name, shape in state['stage2'] if name not in state['stage2_loaded']]
    drawn = draw_state([(i, name, shape, rule_of_name(name, shape)) for i, name, shape in new], seed)
    scale = case.params['fc_scale']
    drawn |= {name: scale * value for name, value in drawn.items() if name.startswith('feat_model.fc_add')}
    given = _given(
        case,
        params,
        case.arrays['label2'],
        # zeros where the checkpoint of the first stage or the class means have to come in
        weights={name: torch.zeros(shape, dtype=torch.float64) for _, name, shape in state['stage2']} | drawn,
        first_step=len(case.arrays['label1']),
        loaded=first.end.state_dict(),
        plain_labels=case.arrays['label_plain'].tolist(),
    )
    overrides = {
        'model.neck.0.in_channels': 512,
        'model.neck.1.in_channels': 512,
        'model.head.aux_losses.0.loss_weight': params['feature_weight'],
    }
    recorded, original = [], meta_embedding.reachability

    def recording(*args: Tensor) -> Tensor:
        recorded.append(original(*args).detach().squeeze(1))
        return original(*args)

    with mock.patch.object(meta_embedding, 'reachability', recording):
        training = train(given, config, _our_name, overrides | _network_and_rates(params))
    return training, torch.stack(recorded)


def _given(case: Case, params: Mapping[str, Any], labels: np.ndarray, **kwargs: Any) -> Given:
    case.check('labels', labels.shape[1], case.params['batch'])
    epoch_of_step = np.arange(len(labels)) // params['steps_per_epoch']
    return Given(
        class_counts=case.params['counts'],
        labels=labels.tolist(),
        epoch_of_step=epoch_of_step.tolist(),
        max_epochs=int(epoch_of_step[-1]) + 1,
        seed_x=case.params['seed_x'],
        optimizer=dict(lr=params['lr_feat']),
        transposed=set(),
        size=case.params['size'],
        **kwargs,
    )


def _network_and_rates(params: Mapping[str, Any]) -> dict[str, Any]:
    factors = dict(head=params['lr_cls'] / params['lr_feat'], backbone=1, neck=1)
    if 'lr_centroids' in params:
        factors['head.fc.centroids'] = params['lr_centroids'] / params['lr_feat']
    return {
        'model.backbone': dict(_delete_=True, type='ltmm.ResNet', depth=10),
        'optim_wrapper.paramwise_cfg': dict(custom_keys={key: dict(lr_mult=factor) for key, factor in factors.items()}),
        'param_scheduler.step_size': params['step_size'],
    }


def _our_name(name: str) -> str:
    part = next(part for part in OUR_PARTS if name.startswith(part + '.'))
    return OUR_PARTS[part] + name.removeprefix(part)


def _name_in_first_stage(name: str) -> str:
    return _our_name(name).replace('neck.1', 'neck')


def _rates(training: Training) -> np.ndarray:
    """Rates of features, classifier and centroids, (steps, 3); NaN without centroids."""
    names = [name for name, _ in training.start.named_parameters()]
    rates = []
    for step in training.rates:
        of_part = {_part(name): rate for name, rate in zip(names, step['lr'], strict=True)}
        assert all(of_part[_part(name)] == rate for name, rate in zip(names, step['lr']))
        rates.append([of_part.get(part, np.nan) for part in ('features', 'classifier', 'centroids')])
    return np.array(rates)


def _part(name: str) -> str:
    if name.endswith('.centroids'):
        return 'centroids'
    return 'classifier' if name.startswith('head.') else 'features'


def _features(model: nn.Module, images: Tensor) -> Tensor:
    return model.head.pre_logits(model.extract_feat(images))
