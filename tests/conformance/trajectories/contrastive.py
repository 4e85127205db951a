"""Contrastive methods."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from ..frame import Case, adaptor
from .frame import WORDS, given_views, train
from .weights import compare_state

BCL_NAMES = {
    'encoder.': 'backbone.',
    'head.': 'head.aux_losses.0.objective.projector.',
    'head_fc.': 'head.aux_losses.0.objective.prototype_projector.',
    'fc.': 'head.fc.',
}


@adaptor('trajectory_bcl', ignores=WORDS)
def bcl(case: Case) -> dict[str, Any]:
    params = case.params
    assert params['blocks'] == [1, 1, 1, 1]  # a ResNet-10
    overrides = {
        'model.backbone': dict(type='ltmm.ResNet', depth=10),
        'model.neck': dict(type='GlobalAveragePooling'),
        'model.head.in_channels': 512,
        'model.head.classifier.scale': params['scale'],
        'model.head.loss.loss_weight': params['alpha'],
        'model.head.aux_losses.0.in_channels': 512,
        'model.head.aux_losses.0.feat_dim': params['feat_dim'],
        'model.head.aux_losses.0.temperature': params['temperature'],
        'model.head.aux_losses.0.weight': params['beta'],
        'param_scheduler': _schedule(params),
    }
    training = train(given_views(case, num_views=3), 'cifar100_lt/bcl_r32.py', _our_name, overrides)
    state = training.state(training.end)
    compare_state(case, 'state_final', (state[name] for _, name, _, _ in params['state_dict']))
    objective = training.end.head.aux_losses[0].objective
    weighted = training.losses['loss_contrastive']
    return dict(
        loss=training.losses['loss'],
        loss_ce=[term / params['alpha'] for term in training.losses['loss_cls']],
        loss_scl=[term / params['beta'] for term in weighted],
        lr=training.lr,
        eval_output=training.predict(),
        eval_features=training.predict(_projected),
        eval_centers=objective.prototypes(training.end.head.fc),
    )


def _our_name(name: str) -> str:
    prefix = next(prefix for prefix in BCL_NAMES if name.startswith(prefix))
    return BCL_NAMES[prefix] + name.removeprefix(prefix)


def _projected(model: nn.Module, images: Tensor) -> Tensor:
    features = model.head.pre_logits(model.extract_feat(images))
    return F.normalize(model.head.aux_losses[0].objective.projector(features), dim=1)


def _schedule(params: Mapping[str, Any]) -> list[dict]:
    """Linear warm-up, then the cosine or two drops."""
    warmup, milestones = params['warmup_epochs'], params['schedule']
    cosine = dict(type='ltmm.ShiftedCosineLR', begin=warmup)
    after = cosine if params['cos'] else dict(type='MultiStepLR', milestones=milestones, gamma=0.1)
    return [dict(type='LinearLR', start_factor=1 / warmup, end=warmup), after] if warmup else [after]
