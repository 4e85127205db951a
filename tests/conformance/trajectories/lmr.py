"""Second stage of LMR on given features: the form of the paper's example, and that of the network with its queue."""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from ltmm.models.heads import LMRHead
from ltmm.models.losses.objective import LossInputs
from ltmm.registry import DATASETS, MODELS

from ..frame import Case, adaptor
from .features import FeatureTraining, train_on_features
from .gml import GivenClusters
from .weights import EVALUATION, compare_state, draw_state

NAMES = {'trunk': 'backbone.trunk', 'norm': 'backbone.norm', 'pre_logits.0.fc': 'backbone.fc', 'head.0': 'head.fc'}
FIXED = dict(  # the branch of the authors' code that is run
    DATASET='Ssv2',
    RECONSTRUCT=True,
    RECONSTRUCT_ATTENTION_TYPE='static',
    RECONSTRUCT_CONTRIBUTION='no-fst',
    RECONSTRUCT_APPLICATION='log_params',
)


@adaptor('trajectory_lmr', ignores=dict(seed_y='what the labels were drawn with'))
def lmr(case: Case) -> dict[str, Any]:
    params, labels, solver = case.params, case.arrays['labels'], case.params['SOLVER']
    length, num_epochs = params['iterations_per_epoch'], solver['MAX_EPOCH']
    case.check('labels', labels.shape, (params['steps'], params['batch']))
    case.check('steps', params['steps'], length * num_epochs)
    data = dict(labels=labels.tolist(), seed=params['seed_x'], width=params['in_features'], noise=params['noise'])
    data |= dict(num_classes=params['num_classes'])
    recorded: list[LossInputs] = []
    loss_inputs = LMRHead.loss_inputs

    def recording(*args: Any, **kwargs: Any) -> LossInputs:
        recorded.append(loss_inputs(*args, **kwargs))
        return recorded[-1]

    draws = _draws(case)
    with (
        mock.patch.object(LMRHead, 'draw', lambda *args: next(draws)),
        mock.patch.object(LMRHead, 'loss_inputs', recording),
    ):
        training = train_on_features(
            'cifar100_lt/lmr_r32.py',
            GivenVideos(**data),
            {_our_name(name): value for name, value in draw_state(params['init'], params['seed_w']).items()},
            dict(
                epoch_of_step=[step // length for step in range(params['steps'])], train_cfg=dict(max_epochs=num_epochs)
            ),
            {
                'train_dataloader.dataset': dict(data, type='ltmm.GivenVideos', _delete_=True),
                'model.head': _head(case),
                'data_preprocessor.num_classes': params['num_classes'],
                'optim_wrapper.optimizer': _optimizer(case),
                'param_scheduler': _schedule(case, length),
            },
            params['class_counts'],
            lambda cfg: _without_first_stage(cfg, params),
        )
    state = training.end.state_dict()
    compare_state(case, 'state', (state[_our_name(name)] for _, name, _ in params['state']))
    return _results(case, training, recorded)


@torch.no_grad()
def _results(case: Case, training: FeatureTraining, recorded: list[LossInputs]) -> dict[str, Any]:
    end, logits = training.end, training.end(training.evaluated)
    results = dict(loss_total=training.losses['loss'], lr=training.lr(), eval_logits=logits)
    for name, inputs in dict(first=recorded[0], last=recorded[-1]).items():
        results |= {f'train_logits_{name}': inputs.cls_score.detach(), f'mixed_labels_{name}': inputs.label}
    if case.params['form'] == 'paper':
        return results | dict(contribution=end.head.share)
    results['eval_output'] = torch.stack([sample.pred_score for sample in end.predict(training.evaluated)])
    if (bank := end.head.bank) is not None:
        rows = (bank.cursor - bank.num_filled + torch.arange(int(bank.num_filled))) % len(bank.labels)  # oldest first
        results |= dict(bank_labels_final=bank.labels[rows], bank_norms_final=bank.features[rows].norm(dim=1))
    return results


def _our_name(name: str) -> str:
    prefix, _, parameter = name.rpartition('.')
    return f'{NAMES[prefix]}.{parameter}'


def _draws(case: Case) -> Iterator[tuple[Tensor, Tensor]]:
    """Partner and own share of the rows of each step, (N,) and (N,)."""
    uniform, is_paper = case['mix_uniform'], case.params['form'] == 'paper'
    if is_paper:
        share = torch.where(case['mix_gate'] > 0.5, uniform, 1.0)
    else:
        num_mixed = int(case.params['TRAIN']['FEATURE_MIXUP_PROB'] * uniform.size(1))
        share = torch.where(torch.arange(uniform.size(1)) < num_mixed, 1 - uniform, 1.0)
    return zip(case['mix_ids'], share)


def _head(case: Case) -> dict[str, Any]:
    """The head with the constants of the case; the draws are given."""
    params = case.params
    head = dict(type='ltmm.LMRHead', num_classes=params['num_classes'], in_channels=params['dim'], init_cfg=None)
    head |= dict(loss=dict(type='CrossEntropyLoss'), _delete_=True)
    if params['form'] == 'paper':
        constants = params['LMR']
        names = dict(scale='d', epsilon='epsilon', max_share='l', few_shot='omega')
        return head | {ours: constants[theirs] for ours, theirs in names.items()}
    constants = params['TRAIN']
    for name, value in FIXED.items():
        case.check(name, constants[name], value)
    names = dict(scale='D', max_share='L', min_share='H', few_shot='FST_THRESHOLD')
    return head | dict(
        {ours: constants[f'RECONSTRUCT_{theirs}'] for ours, theirs in names.items()},
        bank_size=constants['RECONSTRUCT_BANK_SIZE'] * params['batch'],
        mix_prob=constants['FEATURE_MIXUP_PROB'],
        norm_affine=True,
        norm_eps=1e-6,
        authors_mask=True,
    )


def _optimizer(case: Case) -> dict[str, Any]:
    solver = case.params['SOLVER']
    case.check('optimizer', solver['OPTIMIZING_METHOD'], 'adamw')
    return dict(type='AdamW', lr=solver['BASE_LR'], weight_decay=solver['WEIGHT_DECAY'], _delete_=True)


def _schedule(case: Case, length: int) -> list[dict]:
    """A drop at each of the steps, which are in epochs."""
    solver = case.params['SOLVER']
    case.check('policy', [solver['LR_POLICY'], solver['WARMUP_EPOCHS']], ['steps_with_relative_lrs', 0.0])
    case.check('start', [solver['STEPS'][0], solver['LRS'][0]], [0, 1])
    factors = [after / before for before, after in pairwise(solver['LRS'])]
    drop = dict(type='MultiStepLR', by_epoch=False)
    return [
        dict(drop, milestones=[math.ceil(epoch * length)], gamma=factor)
        for epoch, factor in zip(solver['STEPS'][1:], factors, strict=True)
    ]


def _without_first_stage(cfg: Config, params: Any) -> None:
    """Start at the given features, with a trunk, and in the repository's form with one layer norm for all."""
    cfg.model.type = 'ltmm.SharedNormClassifier' if params['form'] == 'repo' else 'ImageClassifier'
    cfg.model.backbone = dict(type='ltmm.GivenTrunk', in_features=params['in_features'], dim=params['dim'])
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != 'ltmm.LoadPartsHook']


@DATASETS.register_module()
class GivenVideos(GivenClusters):
    """Features around a mean per class; those of the evaluation batch are of 8 samples."""

    def draw(self, step: int) -> Tensor:
        labels = np.arange(8) % len(self.means) if step == EVALUATION else self.labels[step]
        noise = np.random.RandomState(self.seed + step).standard_normal((len(labels), self.width))
        return torch.from_numpy(self.noise * noise + self.means[labels])


@MODELS.register_module()
class GivenTrunk(nn.Module):
    """A linear trunk, then layer norm and projection of the video transformer."""

    def __init__(self, in_features: int, dim: int) -> None:
        super().__init__()
        self.trunk, self.norm, self.fc = nn.Linear(in_features, dim), nn.LayerNorm(dim, eps=1e-6), nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.fc(self.norm(self.trunk(x))).tanh(),)


@MODELS.register_module()
class SharedNormClassifier(ImageClassifier):
    """A classifier whose head has the layer norm of its backbone."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.head.norm = self.backbone.norm
