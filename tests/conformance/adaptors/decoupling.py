"""Two-stage training and post-processing: tau-normalisation, learnable weight scaling, nearest class means."""

import re
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.registry import MODELS

from ..frame import Case, adaptor

SIMILARITIES = dict(l2='l2', cos='dot')  # the authors' names and ours


@adaptor('decoupling_classifiers')
def decoupling_classifiers(case: Case) -> dict[str, Any]:
    counts = np.bincount(case.arrays['train_labels'], minlength=len(case.arrays['weight']))
    case.check('train_counts', counts, np.array(case.params['train_counts']))
    return {**tau_norm(case), **learnable_weight_scaling(case), **nearest_class_mean(case)}


def tau_norm(case: Case) -> dict[str, Tensor]:
    x, weight = case['x'], case['weight']
    layer = nn.Linear(weight.size(1), weight.size(0)).to(case.dtype)
    layer.weight.data, layer.bias.data = weight, case['bias']
    head = nn.ModuleDict(dict(fc=layer))
    head.num_classes = len(weight)
    outputs = {}
    for name in case.arrays:
        if match := re.fullmatch('tau(.+)_logits', name):
            step = MODELS.build(dict(type='ltmm.TauNorm', tau=float(match[1])))
            outputs[name] = step(layer(x), x, head)
    return outputs


def learnable_weight_scaling(case: Case) -> dict[str, Tensor]:
    weight = case['weight']
    layer = MODELS.build(dict(type='ltmm.ScaledLinear', in_features=weight.size(1), out_features=len(weight)))
    layer.to(case.dtype).load_state_dict(dict(weight=weight, bias=case['bias'], scale=case['lws_scales']))
    logits = layer(case['x'])
    F.cross_entropy(logits, case['lws_target']).backward()
    return dict(lws_logits=logits, lws_ce_grad_scales=layer.scale.grad)


@torch.no_grad()
def nearest_class_mean(case: Case) -> dict[str, Tensor]:
    x, features, labels = case['x'], case['train_feats'], case['train_labels']
    outputs: dict[str, Tensor] = {}
    for name in case.arrays:
        if match := re.fullmatch('ncm_(.+)_(.+)_logits', name):
            layer = MODELS.build(
                dict(
                    type='ltmm.NearestMean',
                    in_features=x.size(1),
                    out_features=len(case.params['train_counts']),
                    transform=match[1],
                    similarity=SIMILARITIES[match[2]],
                )
            ).to(case.dtype)
            layer.fit(features, labels)
            outputs |= {name: layer(x), f'centroids_{match[1]}': layer.class_means, 'feat_mean': layer.mean}
    return outputs
