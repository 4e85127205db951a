"""NCL, NCL++ and MoCo."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..adaptors.contrastive import record_logits
from ..frame import Case, adaptor
from .frame import WORDS, Given, Training, given_views, train
from .weights import compare_state, draw_state

MOCO = 'head.aux_losses.0.objective.'  # beside the loss of NCL
PARTS = {  # authors' parts of a network per expert
    'backbone': 'backbone.',
    'backbone_MA': 'key_network.module.0.',
    'classifier_ce': 'head.fc.',
    'classifier_MA': f'{MOCO}key_projector.',
}


@adaptor('trajectory_ncl', ignores=WORDS, slow=True)
def ncl(case: Case) -> dict[str, Any]:
    params = case.params
    num_networks, moco, weight = params['num_networks'], params['moco'], params['con_ratio']
    data = given_views(case, num_views=2 if len(moco) else 1)
    overrides = _changes(case, dict(factor='distill_weight', factor_hcm='hard_distill_weight'))
    if len(moco):
        overrides |= {
            'model.momentum': moco['alpha'] ** num_networks,
            f'{AUX}.num_experts': num_networks,
            f'{AUX}.feat_dim': moco['dim'],
            f'{AUX}.queue_size': moco['K'],
            f'{AUX}.temperature': moco['T'],
            f'{AUX}.weight': weight,
        }
        queues = [data.weights.pop(f'MOCO.{e}.queue').T for e in range(num_networks)]
        pointers = {data.weights.pop(f'MOCO.{e}.queue_ptr').item() for e in range(num_networks)}
        data.weights |= _queue(torch.cat(queues, dim=1), *pointers) | {'key_network.steps': torch.tensor(1)}
    config = 'cifar100_lt/ncl_r32_moco.py' if len(moco) else 'cifar100_lt/ncl_r32.py'
    training = train(data, config, lambda name: _our_name(name, len(moco)), overrides)
    state, contrast = training.state(training.end), np.zeros((len(data.labels), num_networks))
    outputs = {}
    if len(moco):
        for e, keys in enumerate(state['queue.features'].chunk(num_networks, dim=1)):
            state |= {f'MOCO.{e}.queue': keys.T, f'MOCO.{e}.queue_ptr': state['queue.cursor']}
        contrast = _each(training, 'contrastive', num_networks, weight)
        outputs = dict(eval_query=training.predict(_queries), eval_key=training.predict(_keys))
    distillation = [training.losses[name] for name in ('loss_distill', 'loss_distill_hard')]
    return _outputs(case, training, state, distillation) | dict(contrast=contrast) | outputs


@adaptor('trajectory_ncl_plus', ignores=WORDS, slow=True)
def ncl_plus(case: Case) -> dict[str, Any]:
    params = case.params
    num_networks = params['num_networks']
    assert not params['factor_hcm'] and not params['con_ratio'] and not len(params['moco'])  # NCL++ has none
    overrides = _changes(case, dict(factor='distill_weight', num_views='num_views'))
    data = given_views(case, num_views=params['num_views'])
    training = train(data, 'cifar100_lt/ncl_plus_r32.py', _our_name, overrides)
    terms = [*(f'loss_intra{e}' for e in range(num_networks)), 'loss_inter']
    return _outputs(case, training, training.state(training.end), [training.losses[name] for name in terms])


@adaptor('trajectory_moco', ignores=WORDS, slow=True)
def moco(case: Case) -> dict[str, Any]:
    params, entries = case.params, case.params['state_dict']
    steps, batch = params['steps'], params['batch']
    is_cifar, blocks = params['encoder'] == 'cifar', params['blocks']
    assert blocks == [blocks[0]] * 3 if is_cifar else blocks == [1, 1, 1, 1]  # which is a ResNet-10
    width = next(shape[1] for _, name, shape, _ in entries if name in ('encoder_q.fc.weight', 'encoder_q.fc.0.weight'))
    loss = dict(
        type='ltmm.MomentumContrastLoss',
        in_channels=width,
        feat_dim=params['dim'],
        queue_size=params['K'],
        temperature=params['T'],
        mlp=params['mlp'],
    )
    layer = dict(type='torch.nn.Identity')
    head = dict(type='ltmm.LongTailClsHead', num_classes=1, in_channels=width, classifier=layer, loss=loss)
    pooled = dict(backbone=dict(type='ltmm.ResNetCIFAR', depth=6 * blocks[0] + 2))
    maps = dict(backbone=dict(type='ltmm.ResNet', depth=10), neck=dict(type='GlobalAveragePooling'))
    network = pooled if is_cifar else maps
    drops = dict(type='MultiStepLR', milestones=params['schedule'], gamma=0.1)
    overrides = {
        'model': dict(_delete_=True, type='ltmm.MomentumClassifier', momentum=params['m'], head=head, **network),
        'param_scheduler': [dict(type='CosineAnnealingLR') if params['cos'] else drops],
    }
    weights = draw_state(entries, params['seed_w'])
    weights |= _queue(weights.pop('queue').T, weights.pop('queue_ptr').item())
    weights |= {'key_network.steps': torch.tensor(0), 'key_projector.steps': torch.tensor(0)}
    data = Given(
        class_counts=[1],
        labels=[[0] * batch] * steps,
        epoch_of_step=range(steps),
        max_epochs=steps,
        seed_x=params['seed_x'],
        optimizer=dict(params['optimizer']),
        weights=weights,
        transposed=set(),
        num_views=2,
    )
    with record_logits() as logits:
        training = train(data, 'cifar100_lt/ncl_r32_moco.py', _our_name_in_moco, overrides)
    state = training.state(training.end)
    state |= dict(queue=state['queue.features'].T, queue_ptr=state['queue.cursor'])
    compare_state(case, 'state_final', (state[name] for _, name, _, _ in entries))
    return dict(
        loss=training.losses['loss'],
        lr=training.lr,
        logits_first_last=torch.stack([logits[0][0], logits[-1][0]]),
        queue_ptr_final=state['queue.cursor'].view(1),
        eval_query=training.predict(_queries)[0],
        eval_key=training.predict(_keys)[0],
    )


# ---------------------------------------------------------------------- settings

AUX = 'model.head.aux_losses.0'


def _changes(case: Case, names: Mapping[str, str]) -> dict[str, Any]:
    """Network, loss and schedule of a case; ``names`` are those of further arguments of the loss."""
    params, num_networks = case.params, case.params['num_networks']
    names = dict(names, hcm_n='num_hard', hcm_ratio='hard_weight', ce_ratio='ce_weight')
    changes = {f'model.head.loss.{ours}': params[name] for name, ours in names.items()}
    changes |= {'model.backbone.num_experts': num_networks, 'model.head.num_experts': num_networks}
    changes |= {'model.backbone.depth': None, 'model.backbone.stage_blocks': params['blocks']}
    if params['classifier'] != 'FC':
        has_bias = any(name in ('classifier.0.bias', 'classifier_ce.0.bias') for _, name, _, _ in params['state_dict'])
        scale = next((params[name] for name in params if 'scale' in name), 16.0)
        changes['model.head.classifier'] = dict(type='ltmm.NormedLinear', scale=scale, bias=has_bias)
    return changes | dict(param_scheduler=_schedule(params['lr_scheduler']))


def _schedule(scheduler: Mapping[str, Any]) -> list[dict]:
    """Schedules stepped before each epoch: from a third of the rate, with drops, or a cosine."""
    if scheduler['type'] == 'cosine':
        end = scheduler['decay_end']
        return [dict(type='ltmm.ShiftedCosineLR', reaches_zero=True, eta_min=1e-4, end=end)]
    warmup, milestones = scheduler['warmup_epoch'], [step - 1 for step in scheduler['lr_step']]
    return [
        dict(type='LinearLR', start_factor=1 / 3 + 2 / 3 / warmup, end=warmup),
        dict(type='MultiStepLR', milestones=milestones, gamma=scheduler['lr_factor']),
    ]


def _queue(features: Tensor, cursor: float) -> dict[str, Tensor]:
    """A queue (K, D) in which all slots count."""
    state = dict(
        features=features,
        labels=torch.full((len(features),), -1),
        num_filled=torch.tensor(len(features)),
        cursor=torch.tensor(int(cursor)),
    )
    return {f'queue.{name}': value for name, value in state.items()}


def _our_name(name: str, is_contrastive: bool = False) -> str:
    part, *rest = name.split('.')
    if part in ('queue', 'key_network'):
        return MOCO + name if part == 'queue' else name
    parts = PARTS | dict(classifier=f'{MOCO}projector.' if is_contrastive else 'head.fc.')
    network, *rest = rest
    layer = f'{rest.pop(0)}.' if part.startswith('backbone') else ''
    return '.'.join([f'{parts[part]}{layer}experts.{network}', *rest])


def _our_name_in_moco(name: str) -> str:
    part, _, rest = name.partition('.')
    is_key, loss = part == 'encoder_k', 'head.loss_module.'
    if part == 'key_network':
        return name
    if part in ('queue', 'key_projector'):
        return loss + name
    if rest.startswith('fc.'):
        projector = 'key_projector.module' if is_key else 'projector'
        return f'{loss}{projector}.experts.0.{rest.removeprefix("fc.")}'
    return f'key_network.module.0.{rest}' if is_key else f'backbone.{rest}'


# ---------------------------------------------------------------------- outputs


def _outputs(case: Case, training: Training, state: Mapping[str, Tensor], distillation: list) -> dict[str, Any]:
    params = case.params
    compare_state(case, 'state_final', (state[name] for _, name, _, _ in params['state_dict']))
    return dict(
        loss=training.losses['loss'],
        lr=training.lr,
        ce=_each(training, 'expert', params['num_networks'], params['ce_ratio']),
        hcm=_each(training, 'hard', params['num_networks'], params['hcm_ratio']),
        nbod=np.transpose(distillation),
        eval_expert_logits=training.predict(lambda model, x: model.head.expert_logits(model.extract_feat(x))),
        eval_output=training.predict(),
    )


def _each(training: Training, name: str, num_networks: int, weight: float) -> np.ndarray:
    """A term of each network in each step, (steps, E), without its weight."""
    return np.transpose([training.losses[f'loss_{name}{e}'] for e in range(num_networks)]) / weight


def _objective(model: nn.Module) -> nn.Module:
    return model.head.aux_losses[0].objective if len(model.head.aux_losses) else model.head.loss_module


def _queries(model: nn.Module, images: Tensor) -> Tensor:
    """Projected features (E, N, D)."""
    objective, features = _objective(model), model.head.pre_logits(model.extract_feat(images))
    return torch.stack(objective.projector(features.split(objective.in_channels, dim=1)))


def _keys(model: nn.Module, images: Tensor) -> Tensor:
    """The same by the momentum copy."""
    objective, features = _objective(model), model.head.pre_logits(model.key_network(images))
    return torch.stack(objective.key_projector(features.split(objective.in_channels, dim=1)))
