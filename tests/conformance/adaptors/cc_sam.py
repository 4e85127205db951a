"""CC-SAM: both stages of one batch on a linear backbone and a linear classifier."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from ltmm.models.losses import LossInputs
from ltmm.registry import MODELS

from ..frame import Case, adaptor

STAGE, MAX_EPOCH = re.compile(r'stage ?= ?(\d+)'), re.compile(r'max_epoch ?= ?(\d+)')


@adaptor('cc_sam')
def cc_sam(case: Case) -> dict[str, Any]:
    params, counts = case.params, case.arrays['class_ratio']
    case.check('class_ratio', counts, np.array(params['counts']))
    first = MODELS.build(
        dict(
            type='ltmm.CCSAMLoss',
            rho=params['noise_ratio'],
            flat_ratio=params['flat_ratio'],
            class_counts=counts,
        )
    )
    second = MODELS.build(
        dict(
            type='ltmm.CCSAMFeatureLoss',
            step_size=params['adver_reg'],
            max_ratio=params['up_limit'],
            weight_divisor=params['div'],
            class_counts=counts,
        )
    )
    backbone, classifier = _linear(case['bb_w']), _linear(case['cls_w'], case['cls_b'])
    terms = _step(case, first, backbone, classifier)
    ratios = 1 - params['flat_ratio'], params['flat_ratio']
    outputs = dict(
        class_weights=second.class_weight,
        s1_grad_bb=backbone.weight.grad,
        s1_grad_cls_w=classifier.weight.grad,
        s1_grad_cls_b=classifier.bias.grad,
    )
    _check_print(case, 's1_print', terms, ratios)
    backbone.requires_grad_(False)
    start, end = (int(pattern.search(case.called)[1]) for pattern in (STAGE, MAX_EPOCH))
    for epoch in map(int, re.findall(r's2_e(\d+)_print', ' '.join(case.arrays))):
        second.set_progress(epoch - start, end - start)
        classifier = _linear(case['cls_w'], case['cls_b'])
        terms = _step(case, second, backbone, classifier)
        prefix = f's2_e{epoch}'
        outputs |= {f'{prefix}_grad_cls_w': classifier.weight.grad, f'{prefix}_grad_cls_b': classifier.bias.grad}
        _check_print(case, f'{prefix}_print', terms, (1 - second.ratio, second.ratio))
    return outputs


def _linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    layer = nn.Linear(weight.size(1), weight.size(0), bias=bias is not None).to(weight)
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = bias
    return layer


def _step(case: Case, loss: nn.Module, backbone: nn.Linear, classifier: nn.Linear) -> Mapping[str, Tensor]:
    """The terms of the loss; their gradients are left in the layers."""
    features, label = backbone(case['x']), case['y']
    terms = loss(
        LossInputs(
            label=label, hard_label=label, cls_score=classifier(features), features=features, classifier=classifier
        )
    )
    sum(terms.values()).backward()
    return terms


def _check_print(case: Case, name: str, terms: Mapping[str, Tensor], ratios: tuple[float, float]) -> None:
    """Total, original and perturbed loss, which are printed with three decimals."""
    printed = [float(number) for number in re.findall(r'Loss: *([^\s,]+)', str(case.arrays[name]))]
    values = [term.item() for term in terms.values()]
    values = [sum(values), *(value / ratio for value, ratio in zip(values, ratios))]
    case.check(name, np.round(values, 3), np.array(printed))
