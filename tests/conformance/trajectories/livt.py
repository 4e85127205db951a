"""Balanced fine-tuning of a ViT."""

from collections.abc import Mapping
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.optim import build_optim_wrapper
from mmpretrain.registry import BATCH_AUGMENTS
from torch import Tensor
from toy import ROOT, read_config

from ..frame import Case, adaptor
from .frame import Given, train
from .weights import compare_state, draw_state, rule_of_name

CONFIG = 'cifar100_lt/livt_vit-tiny-p4.py'
LOSSES = dict(Bal_BCE='ltmm.BalancedBCELoss', Bal_CE='ltmm.BalancedSoftmaxLoss', CB_BCE='ltmm.ClassBalancedBCELoss')
PARTS = {  # the authors' names of modules, and ltmm's
    'head.': 'head.fc.',
    'fc_norm.': 'backbone.ln2.',
    'blocks.': 'backbone.layers.',
    '.norm': '.ln',
    '.mlp.fc1.': '.ffn.layers.0.0.',
    '.mlp.fc2.': '.ffn.layers.1.',
    'patch_embed.proj.': 'backbone.patch_embed.projection.',
    'cls_token': 'backbone.cls_token',
    'pos_embed': 'backbone.pos_embed',
}


def our_name(name: str) -> str:
    for theirs, ours in PARTS.items():
        name = name.replace(theirs, ours)
    return name


@BATCH_AUGMENTS.register_module()
class GivenMix:
    """Mixes the batch with itself in reverse order, by given Mixup and CutMix draws.

    Args:
        lam: share of the first image of each batch, (B,).
        boxes: top, bottom, left and right of what CutMix pastes in each batch, (B, 4).
        is_cutmix: whether a batch is mixed by CutMix, (B,).
    """

    def __init__(self, lam: list[float], boxes: list[list[int]], is_cutmix: list[bool]) -> None:
        self.draws = zip(lam, boxes, is_cutmix)

    def __call__(self, images: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        lam, (top, bottom, left, right), is_cutmix = next(self.draws)
        score = score.to(images)  # one-hot integers, which a float would turn into float32
        mixed = lam * images + (1 - lam) * images.flip(0)
        if is_cutmix:
            mixed = images.clone()
            mixed[..., top:bottom, left:right] = images.flip(0)[..., top:bottom, left:right]
        return mixed, lam * score + (1 - lam) * score.flip(0)


@adaptor('trajectory_livt')
def livt(case: Case) -> dict[str, Any]:
    params, entries = case.params, case.params['state']['tensors']
    steps = len(case.arrays['label'])
    data = Given(
        class_counts=params['counts'],
        labels=case.arrays['label'].tolist(),
        epoch_of_step=[step // params['steps_per_epoch'] for step in range(steps)],
        max_epochs=params['epochs'],
        seed_x=params['seed_x'],
        optimizer=dict(lr=params['lr'], betas=(0.9, params['adamW2']), weight_decay=params['weight_decay']),
        weights=draw_state([(*entry, rule_of_name(*entry[1:])) for entry in entries], params['seed_w']),
        transposed=set(),
        size=params['size'],
    )
    case.check('labels', case.arrays['label'].shape[1], params['batch'])
    _check_mixing(case)
    draws = (np.random.RandomState(params['seed_d'] + k) for k in count())
    rand = SimpleNamespace(rand=lambda shape, **kwargs: torch.as_tensor(next(draws).random_sample(shape), **kwargs))
    overrides = {**_network(case), **_loss(case), **_optimization(case)}
    with mock.patch('mmcv.cnn.bricks.drop.torch', rand):
        training = train(data, CONFIG, our_name, overrides)
    end, updates = training.state(training.end), training.rates[params['accum_iter'] - 1 :: params['accum_iter']]
    compare_state(case, 'final', (end[name] for _, name, _ in entries))
    scale, weight_decay = _settings(training.end, overrides, data.optimizer, params['state']['parameters'])
    outputs = dict(lr=[rates['base_lr'][0] for rates in updates], lr_scale=scale, weight_decay=weight_decay)
    case.check('rates', [sorted({*rates['lr']}) for rates in updates], np.outer(outputs['lr'], sorted({*scale})))
    images = training.images(99999)
    with torch.no_grad():
        features = training.end.backbone(images)[-1]
    return dict(outputs, loss=training.losses['loss'], eval_features=features, eval_logits=training.predict())


def _check_mixing(case: Case) -> None:
    """Draw Mixup and CutMix as timm does."""
    size, mixup, cutmix, draws = case.params['size'], case.params['mixup'], case.params['cutmix'], []
    for step in range(len(case.arrays['label'])):
        generator = np.random.RandomState(case.params['seed_n'] + step)
        generator.rand()  # whether to mix at all
        is_cutmix = generator.rand() < 0.5 if mixup and cutmix else cutmix > 0
        alpha = cutmix if is_cutmix else mixup
        lam, box = generator.beta(alpha, alpha) if alpha else 1.0, [0] * 4
        if is_cutmix:
            half = int(size * np.sqrt(1 - lam)) // 2
            centers = generator.randint(0, size), generator.randint(0, size)
            box = [min(max(c + h, 0), size) for c in centers for h in (-half, half)]
            lam = 1 - (box[1] - box[0]) * (box[3] - box[2]) / size**2
        draws.append((lam, is_cutmix, *box))
    lam, is_cutmix, *box = zip(*draws)
    case.check('mix_lam', lam, case.arrays['mix_lam'])
    case.check('mix_cutmix', is_cutmix, case.arrays['mix_cutmix'].astype(bool))
    case.check('mix_box', np.transpose(box), case.arrays['mix_box'])


def _network(case: Case) -> dict[str, Any]:
    params = case.params
    arch = dict(embed_dims=params['embed_dim'], num_layers=params['depth'], num_heads=params['num_heads'])
    return {
        'model.backbone.arch': dict(arch, feedforward_channels=4 * params['embed_dim']),
        'model.backbone.img_size': params['size'],
        'model.backbone.patch_size': params['patch_size'],
        'model.backbone.drop_path_rate': params['drop_path'],
        'model.head.in_channels': params['embed_dim'],
    }


def _loss(case: Case) -> dict[str, Any]:
    kind, tau = case.params['loss'], case.params['bal_tau']  # which balanced BCE does not read
    loss = dict(type=LOSSES[kind], smoothing=case.params['smoothing'], **(dict(tau=tau) if kind == 'Bal_CE' else {}))
    mix = dict(
        type='GivenMix',
        lam=case.arrays['mix_lam'].tolist(),
        boxes=case.arrays['mix_box'].tolist(),
        is_cutmix=case.arrays['mix_cutmix'].astype(bool).tolist(),
    )
    return {'model.head.loss': dict(loss, _delete_=True), 'model.train_cfg.augments': [mix]}


def _optimization(case: Case) -> dict[str, Any]:
    """Schedule and accumulation. The authors set the rate where an update begins to accumulate, MMEngine at its end."""
    params = case.params
    step, clip, warm_up = 1 / params['steps_per_epoch'], params['clip_grad'], params['warmup_epochs']
    begin = (params['accum_iter'] - 0.5) * step  # MMEngine rounds down
    hooks = read_config(ROOT / 'configs' / CONFIG).custom_hooks
    (loading,) = (i for i, hook in enumerate(hooks) if hook.type == 'ltmm.LoadPartsHook')
    return {
        f'custom_hooks.{loading}.prefixes': ['backbone', 'head'],
        'optim_wrapper.accumulative_counts': params['accum_iter'],
        'optim_wrapper.clip_grad': clip and dict(max_norm=clip),
        'optim_wrapper.paramwise_cfg.layer_decay_rate': params['layer_decay'],
        'param_scheduler.0.start_factor': 1e-12,  # MMEngine's cannot be 0
        'param_scheduler.0.begin': begin,
        'param_scheduler.0.end': begin + warm_up + step,  # at the full rate in the first iteration after the warm-up
        'param_scheduler.1.begin': begin + warm_up,
        'param_scheduler.1.T_max': params['epochs'] - warm_up,
        'param_scheduler.1.eta_min_ratio': params['min_lr'] / params['lr'],
    }


def _settings(
    model: torch.nn.Module, overrides: Mapping[str, Any], optimizer: dict, names: list[str]
) -> tuple[list[float], list[float]]:
    """Factor of the rate and weight decay of each parameter, as the config sets them."""
    cfg = read_config(ROOT / 'configs' / CONFIG)
    cfg.merge_from_dict({**overrides, 'optim_wrapper.optimizer': optimizer})
    groups = {g['param_name']: g for g in build_optim_wrapper(model, cfg.optim_wrapper).param_groups if 'layer_id' in g}
    return tuple([groups[our_name(name)][key] for name in names] for key in ('lr_scale', 'weight_decay'))
