"""GLMC."""

from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ltmm.models.batch_augments import GlobalLocalMix, PartnerStream
from ltmm.models.batch_augments.global_local_mix import box_around

from ..frame import Case, adaptor
from .frame import WORDS, given_views, train
from .weights import compare_state, draw_images

NAMES = {
    'fc_cb.': 'head.fc.',
    'fc.': 'head.fc.uniform.',
    'projection_head.0.': 'head.aux_losses.0.objective.projector.',
    'contrast_head.0.': 'head.aux_losses.0.objective.predictor.',
}


@adaptor(
    'trajectory_glmc',
    ignores=WORDS
    | {
        'seed_numpy': 'lambda and box of each step are stored',
        'beta_unused': 'drawn and not used',
        'resample_weighting_used_for_the_labels': 'the labels of the second stream are stored',
    },
    slow=True,
)
def glmc(case: Case) -> dict[str, Any]:
    params, width = case.params, case.params['nf']
    assert params['blocks'] == [1, 1, 1]  # a ResNet-8
    feat_dim = next(shape[0] for _, name, shape, _ in params['state_dict'] if name == 'projection_head.0.weight')
    consistency = dict(type='ltmm.ViewConsistencyLoss', in_channels=4 * width, feat_dim=feat_dim)
    overrides = {
        'model.backbone.depth': 8,
        'model.backbone.channels': (width, 2 * width, 4 * width),
        'model.head.in_channels': 4 * width,
        'model.head.loss.power': params['label_weighting'],
        'model.head.aux_losses': [dict(consistency, weight=params['contrast_weight'])],
        'param_scheduler': _schedule(params['schedule'], params['steps']),
    }
    given = given_views(case, num_views=2)
    with mock.patch.object(GlobalLocalMix, 'draw', _draws(case)), mock.patch.object(PartnerStream, 'read', _read(case)):
        training = train(given, 'cifar100_lt/glmc_r32.py', _our_name, overrides)
    state = training.state(training.end)
    compare_state(case, 'state_final', (state[name] for _, name, _, _ in params['state_dict']))
    alpha, terms = case.arrays['alpha'], case.arrays['terms']
    weighted = dict(
        loss_uniform=alpha * terms[:, :2].sum(1),
        loss_balanced=(1 - alpha) * terms[:, 2:4].sum(1),
        loss_consistency=params['contrast_weight'] * terms[:, 4:].sum(1),
    )
    for name, expected in weighted.items():
        case.check(name, training.losses[name], expected, np.abs(expected).max())
    return dict(
        loss=training.losses['loss'],
        lr=training.lr,
        class_weights=training.end.head.loss_module.class_weight,
        eval_output=training.predict(),
        eval_fc=training.predict(lambda model, x: model.head.fc.uniform(model.extract_feat(x)[-1])),
        eval_projection=training.predict(_projected),
        eval_prediction=training.predict(lambda model, x: _objective(model).predictor(_projected(model, x))),
    )


def _draws(case: Case) -> Any:
    """The stored lambda and box of each step; the box has the size that follows from lambda and some center."""
    draws = []
    for share, (x1, y1, x2, y2) in zip(case.arrays['lam'], case.arrays['bbox'].tolist(), strict=True):
        box = (x1, x2, y1, y2)
        assert box in {box_around((x, y), (32, 32), share) for x in range(32) for y in range(32)}
        draws.append((share, box))
    return lambda self, shape: draws[self.epoch]


def _read(case: Case) -> Any:
    """The views 2 and 3 of the images of each step, with the labels of the second stream."""
    labels, seed = case['labels_weighted_loader'], case.params['seed_x']
    num_classes = len(case.params['cls_num_list'])

    def read(self: PartnerStream, size: int, epoch: int) -> tuple[Tensor, Tensor]:
        score = F.one_hot(labels[epoch], num_classes)
        return torch.cat([draw_images(seed, epoch, size, view=view) for view in (2, 3)]), score

    return read


def _schedule(name: str, epochs: int) -> list[dict]:
    if name == 'cifar100':
        return [dict(type='CosineAnnealingLR')]
    return [  # as in imagenet_lt/glmc_rx50.py
        dict(type='LinearLR', start_factor=0.1, begin=1, end=11),
        dict(type='MultiStepLR', milestones=[11], gamma=1.1, end=12),
        dict(type='ltmm.ShiftedCosineLR', ahead=2, begin=12, end=epochs + 1),
    ]


def _our_name(name: str) -> str:
    prefix = next((prefix for prefix in NAMES if name.startswith(prefix)), None)
    return f'backbone.{name}' if prefix is None else NAMES[prefix] + name.removeprefix(prefix)


def _objective(model: nn.Module) -> nn.Module:
    return model.head.aux_losses[0].objective


def _projected(model: nn.Module, images: Tensor) -> Tensor:
    return _objective(model).projector(model.extract_feat(images)[-1])
