"""Second stage of GML on given features, and the ensemble of the new and the old classifier."""

from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor, nn

from ltmm.models.losses.classification import geometric_mean_loss
from ltmm.registry import DATASETS, MODELS

from ..frame import Case, adaptor
from .features import GivenFeatures, train_on_features
from .weights import EVALUATION, compare_state, draw_state


@adaptor('trajectory_gml', ignores=dict(seed_y='what the labels were drawn with'))
def gml(case: Case) -> dict[str, Any]:
    params, labels = case.params, case.arrays['labels']
    options = dict(labels=labels.tolist(), seed=params['seed_x'], width=params['in_features'], noise=params['noise'])
    data = GivenClusters(**options, num_classes=params['num_classes'])
    num_steps = params['epochs'] * params['steps_per_epoch']
    case.check('labels', labels.shape, (num_steps, params['batch']))
    layer = dict(type='ltmm.FixedScaleLinear', scale=params['logit_scale'])
    temperatures = dict(new_temperature=params['t1'], old_temperature=params['t2'])
    overrides = {
        'train_dataloader.dataset': dict(options, type='ltmm.GivenClusters', num_classes=params['num_classes'])
        | dict(_delete_=True),
        'model.head.classifier': dict(type='ltmm.ClassifierEnsemble', new=layer, old=layer, **temperatures),
        'model.head.in_channels': params['in_features'],
        'model.head.num_classes': params['num_classes'],
        'data_preprocessor.num_classes': params['num_classes'],
        'optim_wrapper.optimizer': dict(params['optimizer']),
        'optim_wrapper.clip_grad': dict(max_norm=np.inf),  # measured, at least
    }
    weights = draw_state(params['init'], params['seed_w'])
    if params['start'] == 'old':
        weights |= {name.replace('old', 'new'): value for name, value in weights.items() if name.startswith('old')}
    else:
        case.check('start', params['start'], 'rule')
    clamped: list[int] = []

    def counting_recalls(prob: Tensor, target: Tensor, per_rank: bool) -> tuple[Tensor, Tensor]:
        clamped.append(int((target * (prob <= 1e-5)).sum()))
        return soft_recalls(prob, target, per_rank)

    soft_recalls = geometric_mean_loss.soft_recalls
    with mock.patch.object(geometric_mean_loss, 'soft_recalls', counting_recalls):
        training = train_on_features(
            'cifar100_lt/gml_ensemble_r32.py',
            data,
            {f'head.fc.{name}': value for name, value in weights.items()},
            dict(
                epoch_of_step=[step // params['steps_per_epoch'] for step in range(num_steps)],
                train_cfg=dict(max_epochs=params['epochs']),
            ),
            overrides,
            params['class_counts'],
            _without_first_stage,
        )
    layer, state = training.end.head.fc, training.end.head.fc.new.state_dict()
    compare_state(case, 'state', (state[name] for _, name, _ in params['state']))
    with torch.no_grad():
        return dict(
            loss_total=training.losses['loss'],
            lr=training.lr('head.fc.new'),
            grad_norm=training.grad_norm,
            clamped=clamped,
            train_logits_first=training.start(training.first),
            eval_logits_new=layer.new(training.evaluated),
            eval_logits_old=layer.old(training.evaluated),
            eval_ensemble=2 * training.end(training.evaluated).exp(),
        )


@DATASETS.register_module()
class GivenClusters(GivenFeatures):
    """Features around a mean per class; those of the evaluation batch are of 12 samples.

    Args:
        labels: (steps, N).
        seed: of the features.
        width: D.
        noise: their deviation from the mean.
        num_classes: C.
    """

    def __init__(self, labels: Sequence, seed: int, width: int, noise: float, num_classes: int) -> None:
        super().__init__(labels, seed, width, 'relu')
        self.noise = noise
        self.means = np.random.RandomState(seed - 1).standard_normal((num_classes, width))

    def draw(self, step: int) -> Tensor:
        """The features of a step, (N, D)."""
        labels = np.arange(12) % len(self.means) if step == EVALUATION else self.labels[step]
        noise = np.random.RandomState(self.seed + step).standard_normal((len(labels), self.width))
        return torch.from_numpy(np.maximum(self.noise * noise + self.means[labels], 0))


@MODELS.register_module()
class FixedScaleLinear(nn.Linear):
    """Linear layer with a constant factor of its logits."""

    def __init__(self, in_features: int, out_features: int, scale: float) -> None:
        super().__init__(in_features, out_features)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * super().forward(x)


def _without_first_stage(cfg: Config) -> None:
    """Start at the features and with given classifiers; the old one gets no gradient in any case."""
    cfg.model.backbone = dict(type='ltmm.NoBackbone')
    cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type not in ('ltmm.FreezeHook', 'ltmm.LoadPartsHook')]
