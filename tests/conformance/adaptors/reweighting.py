"""Weights and smoothing that follow features or frequencies: AREA, label-aware smoothing."""

from unittest import mock

import torch
from torch import Tensor

from ltmm.models.losses.classification import area_reweighting
from ltmm.models.state import TrainFeatures
from ltmm.registry import MODELS

from ..frame import Case, adaptor


@adaptor('area')
def area(case: Case) -> dict[str, Tensor]:
    counts, features, label = case.params['cls_num_list'], case['features'], case['labels']
    loss = MODELS.build(
        dict(
            type='ltmm.AREAReweighting',
            loss=dict(type='mmpretrain.CrossEntropyLoss'),
            start_epoch=0,
            batch_size=case.params['batch_size'],
            class_counts=counts,
        )
    )
    loss.set_progress(0, 1)
    with mock.patch.object(torch, 'randperm', lambda n, **_: torch.arange(n)):  # the authors' order is given
        loss.on_train_features(TrainFeatures(features, None, label, torch.arange(len(label))))
    prototypes = area_reweighting.class_prototypes(features, label, torch.tensor(counts))
    return case.loss_and_grad(loss) | dict(prototypes=prototypes, weights=loss.class_weight)


@adaptor('label_aware_smoothing')
def label_aware_smoothing(case: Case) -> dict[str, Tensor]:
    params = dict(case.params)
    loss = MODELS.build(dict(type='ltmm.LabelAwareSmoothingLoss', class_counts=params.pop('cls_num_list'), **params))
    return case.loss_and_grad(loss) | dict(smooth=loss.smoothing)
