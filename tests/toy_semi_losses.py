"""Batches for losses of labeled and unlabeled images."""

import torch
from torch import nn

from ltmm import ClassDistribution
from ltmm.models.losses import LossInputs
from ltmm.registry import MODELS

COUNTS = (60, 30, 10, 0)


def build_loss(name: str, class_counts=COUNTS, **kwargs) -> nn.Module:
    loss = MODELS.build(dict(type=f'ltmm.{name}', **kwargs))
    loss.set_class_distribution(ClassDistribution(class_counts))
    return loss


def semi_inputs(seed=0, num_views=1, unlabeled_views=2, dtype=torch.float64) -> LossInputs:
    """Views of three labeled and of five unlabeled images of four classes."""
    torch.manual_seed(seed)
    labeled = torch.randn(3 * num_views, 4, dtype=dtype)
    unlabeled = 1.5 * torch.randn(unlabeled_views, 5, 4, dtype=dtype)
    return LossInputs(
        label=torch.tensor([0, 2, 1]),
        cls_score=labeled.requires_grad_(),
        unlabeled_score=unlabeled.requires_grad_(),
    )


def run_at(loss: nn.Module, iter: int, inputs: LossInputs) -> dict[str, torch.Tensor]:
    """Compute the terms in an iteration of ten."""
    loss.set_progress(0, 1, iter, 10)
    return loss(inputs)
