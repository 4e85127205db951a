"""Contrastive methods."""

import torch.nn.functional as F
from torch import Tensor

from ltmm.models.losses.contrastive.balanced_contrastive_loss import balanced_contrastive_loss
from ltmm.registry import MODELS

from ..frame import Case, adaptor


@adaptor('bcl')
def bcl(case: Case) -> dict[str, Tensor]:
    raw, centers = case['raw_features'].requires_grad_(), case['raw_centers'].requires_grad_()
    features = F.normalize(raw, dim=2).transpose(0, 1).flatten(0, 1)  # (V N, D), view after view
    label = case['target'].repeat(raw.size(1))
    temperature = case.params['temperature']
    loss = balanced_contrastive_loss(features, label, F.normalize(centers, dim=1), temperature).mean()
    loss.backward()
    counts, tau = case.arrays['class_counts'], case.argument('tau', 1.0)
    adjusted = MODELS.build(dict(type='ltmm.BalancedSoftmaxLoss', tau=tau, class_counts=counts))
    outputs = case.loss_and_grad(adjusted, grad='la_grad')
    return dict(
        loss=loss, grad_raw=raw.grad, grad_centers=centers.grad, la_loss=outputs['loss'], la_grad=outputs['la_grad']
    )
