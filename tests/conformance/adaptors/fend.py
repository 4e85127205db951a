"""FEND: contrast of prototypes, temperatures, winner-takes-all, hyper LSTM."""

from typing import Any

import torch
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.tasks.trajectory import HyperLSTMCell, density_temperatures, ewta_loss, three_modes_contrast

from ..frame import Case, adaptor

CELL = {
    'weight_ih': 'weight_x',
    'weight_hh': 'weight_h',
    'h_hat_hyper': 'hyper',
    'h_hat_h': 'z_h',
    'h_hat_x': 'z_x',
    'h_hat_b': 'z_b',
    'h_z': 'd_h',
    'x_z': 'd_x',
    'b_z': 'd_b',
    'layernorm': 'norm',
}
SEED = {'seed': 'the inputs are stored'}


@adaptor('fend_contrast', ignores=SEED)
def fend_contrast(case: Case) -> dict[str, Any]:
    if 'features' in case:
        return _three_modes(case)
    raw, index = case['features_raw'].requires_grad_(), case['index']
    count = sum(name.startswith('centroids_') for name in case.arrays)
    sizes = [len(case[f'centroids_{g}']) for g in range(count)]
    case.check('clusters', sizes, case.params['clusters'])
    loss = MODELS.build(
        dict(
            type='ltmm.PrototypeContrast',
            feat_dim=raw.size(1),
            num_clusters=sizes,
            temperature=case.argument('temp', 0.1),
            warmup_epochs=1,
            weights=(case.argument('factor_con', 1.0),),
        )
    ).double()
    clusters = torch.stack([case[f'tra2cluster_{g}'] for g in range(count)], dim=1)
    loss.clusters.resize(len(clusters))
    loss.clusters.values.copy_(clusters + torch.tensor([0, *sizes[:-1]]).cumsum(0))
    loss.prototypes.means.copy_(torch.cat([case[f'centroids_{g}'] for g in range(count)]))
    loss.prototypes.counts.fill_(1)
    loss.temperatures.values.copy_(torch.cat([case[f'density_{g}'] for g in range(count)]))
    loss.set_progress(1, 2)
    value = sum(loss(raw, case['score'], index).values())
    value.backward()
    return dict(loss=value, grad_features_raw=raw.grad)


def _three_modes(case: Case) -> dict[str, Any]:
    features, score = case['features'].requires_grad_(), case['score']
    temperatures = case.argument('temp', 0.1), case.argument('base_temperature', 0.07)
    loss = three_modes_contrast(features, score, *temperatures).mean()
    loss.backward()
    difference = (score.unsqueeze(1) - score).abs()
    counts = dict(n_pos=(difference < 0.1).sum(1) - 1, n_neg=(difference > 2).sum(1))
    return dict(loss=loss, grad=features.grad, **{name: count.double().mean() for name, count in counts.items()})


@adaptor('fend_density')
def fend_density(case: Case) -> dict[str, Tensor]:
    distance = case['dist2'].sqrt()
    num_clusters = len(case.arrays['density'])
    return dict(density=density_temperatures(distance, case['labels'], num_clusters, case.params['temperature']))


@adaptor('fend_ewta', ignores=SEED)
def fend_ewta(case: Case) -> dict[str, Tensor]:
    mode, top_n = case.params['mode'], case.params['top_n']
    prediction = case['pred'].requires_grad_()
    loss = ewta_loss(prediction, case['target'], {'epe-all': None, 'epe-top-n': top_n, 'epe': 1}[mode]).mean()
    loss.backward()
    return dict(loss=loss, grad=prediction.grad)


@adaptor(
    'fend_hyperlstm',
    ignores=SEED | dict.fromkeys(('c_hat', 'c_hat_next', 'p.c_hat_hyper.*'), 'a cell state that is never used'),
)
def fend_hyperlstm(case: Case) -> dict[str, Any]:
    sizes, feature = case.params['sizes'], case['hyper_feature']
    cell = HyperLSTMCell(sizes[0], sizes[1], feature.size(1), *sizes[2:]).double()
    names = [name for name in case.arrays if name.startswith('p.') and 'c_hat_hyper' not in name]
    cell.load_state_dict({cell_name(name.removeprefix('p.')): case[name] for name in names})
    h, c = cell(case['input'], case['hx'], case['cx'], cell.modulation(case['h_hat']))
    return dict(hy=h, cy=c, h_hat_next=cell.hyper(feature), outgate=h / c.tanh())


def cell_name(name: str) -> str:
    """ltmm's name of a tensor of the cell."""
    part, dot, rest = name.partition('.')
    return CELL[part] + dot + rest
