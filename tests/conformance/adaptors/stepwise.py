"""Step-wise learning on smooth-tail data: distillation from the head expert."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ltmm.registry import MODELS

from ..frame import Case, adaptor


@adaptor('stepwise')
def stepwise(case: Case) -> dict[str, Any]:
    params, head_classes = case.params, case['head_classes']
    counts = np.full(params['num_classes'], 30)  # no head class
    counts[head_classes] = 31
    losses = dict(loss_weight=1.0, class_counts=counts)
    kd_loss = MODELS.build(dict(losses, type='ltmm.QuerySharedKDLoss'))
    feature_loss = MODELS.build(dict(losses, type='ltmm.MaskedFeatureLoss'))

    cls_score, teacher_cls_score = case['student_logits'].requires_grad_(), case['teacher_logits']
    case.check('queries', teacher_cls_score.shape, (params['batch'], params['queries'], params['num_classes']))
    kd = kd_loss(cls_score, teacher_cls_score)
    kd.backward()

    levels, images = range(len(params['levels'])), range(params['batch'])
    features = [case[f'student_src{k}'].requires_grad_() for k in levels]
    teacher_features = [case[f'teacher_src{k}'] for k in levels]
    boxes, labels = [corners(case[f'boxes{b}']) for b in images], [case[f'labels{b}'] for b in images]
    feature = feature_loss(features, teacher_features, boxes, labels)
    feature.backward()
    return dict(
        kd_loss=kd,
        kd_grad=cls_score.grad,
        feature_loss=feature,
        **{f'src_grad{k}': features[k].grad for k in levels},
    )


def corners(boxes: Tensor) -> Tensor:
    """(x1, y1, x2, y2) of (cx, cy, w, h), (M, 4)."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.cat([centre - half, centre + half], dim=1)
