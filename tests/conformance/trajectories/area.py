"""AREA: cross entropy, then weights by the effective area before every epoch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ltmm.engine.hooks import train_features_hook
from ltmm.models.losses.classification import area_reweighting

from ..adaptors.experts import our_name
from ..frame import Case, adaptor
from .frame import Given, train
from .weights import cifar_depth, compare_state, draw_images, draw_state, rule_of_name

START_EPOCH = 160  # the config's, as it is fixed in the authors' code
CLASS_WEIGHT = 'head.loss_module.class_weight'  # empty at the start


@adaptor('trajectory_area')
def area(case: Case) -> dict[str, Any]:
    params, labels = case.params, case.arrays['label']
    case.check('label', labels.shape[2], params['batch'])
    entries = [(i, name, shape, rule_of_name(name, shape)) for i, name, shape in params['state']]
    given = Given(
        class_counts=params['counts'],
        labels=labels[0].tolist(),
        epoch_of_step=np.repeat(case.arrays['epoch'], params['batches_per_epoch']).tolist(),
        max_epochs=200,
        seed_x=params['seed_x'],
        optimizer={name: params[name] for name in ('lr', 'momentum', 'weight_decay')},
        weights={**draw_state(entries, params['seed_w']), CLASS_WEIGHT: torch.zeros(0, dtype=torch.float64)},
        transposed=set(),
    )
    overrides = {'model.backbone.depth': cifar_depth(entries), 'model.head.loss.batch_size': params['batch']}
    with given_passes(given, labels), recording('class_prototypes') as prototypes, recording('area_weights') as weights:
        training = train(given, 'cifar100_lt/area_r32.py', _our_name, overrides)
    epochs = [epoch - START_EPOCH for epoch in case.arrays['epoch'] if epoch >= START_EPOCH]
    end = training.state(training.end)
    compare_state(case, 'final', (end[name] for _, name, _ in params['state']))
    return dict(
        loss=training.losses['loss'],
        lr=training.lr[:: params['batches_per_epoch']],
        weight=torch.stack(weights)[epochs],
        prototype_norm=torch.stack(prototypes)[epochs].norm(dim=2),
        prototype_first=torch.stack(prototypes)[epochs, :, :6],
        eval_logits=training.predict(),
    )


def _our_name(name: str) -> str:
    return name if name == CLASS_WEIGHT else our_name(name)


@contextmanager
def given_passes(given: Given, labels: np.ndarray) -> Iterator[None]:
    """Make the passes of an epoch see the images of views 1 and 2 of its steps, in their order."""
    num_passes, original = 0, train_features_hook.train_features

    def on_given_images(model: nn.Module, *_: Any, **options: Any) -> Any:
        nonlocal num_passes
        epoch, view = START_EPOCH + num_passes // 2, 1 + num_passes % 2
        num_passes += 1
        steps = [step for step, when in enumerate(given.epoch_of_step) if when == epoch] or [0]  # it has no training
        samples = []
        for step in steps:
            images = draw_images(given.seed_x, step, len(labels[view][step]), view=view)
            for image, label in zip(images, labels[view][step].tolist()):
                sample = DataSample(metainfo=dict(sample_idx=len(samples))).set_gt_label(label)
                samples.append(dict(inputs=image, data_samples=sample))
        return original(model, DataLoader(samples, batch_size=len(samples), collate_fn=pseudo_collate), **options)

    with (
        mock.patch.object(train_features_hook, 'train_features', on_given_images),
        mock.patch.object(torch, 'randperm', lambda n, **_: torch.arange(n)),
    ):
        yield


@contextmanager
def recording(name: str) -> Iterator[list[Tensor]]:
    """Collect the results of a function of AREA."""
    results: list[Tensor] = []
    original: Callable[..., Tensor] = getattr(area_reweighting, name)

    def record(*args: Tensor) -> Tensor:
        results.append(original(*args))
        return results[-1]

    with mock.patch.object(area_reweighting, name, record):
        yield results
