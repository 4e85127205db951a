"""Preparation and calls of losses, and an objective that shows its inputs."""

import torch
from torch import Tensor, nn

from ltmm import ClassDistribution
from ltmm.models.losses import LossInputs, Objective
from ltmm.models.state import TrainFeatures, UsesTrainFeatures
from ltmm.registry import MODELS


def prepare(module: nn.Module, counts: list[int], epoch: int = 0, **distribution: int) -> nn.Module:
    """Hand out class distribution, epoch and features of the training set, as the hooks do before an epoch."""
    for part in module.modules():
        if hasattr(part, 'set_class_distribution'):
            part.set_class_distribution(ClassDistribution(counts, **distribution))
        if hasattr(part, 'set_progress'):
            part.set_progress(epoch, 10)
        if isinstance(part, UsesTrainFeatures):
            part.on_train_features(train_features(counts))
    return module


def train_features(counts: list[int], seed: int = 0) -> TrainFeatures:
    """Draw features (N, 5) and logits of teachers (N, C) of a training set with these class counts."""
    label = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    draw = dict(generator=torch.Generator().manual_seed(seed))
    features, teacher_logits = (torch.randn(len(label), width, **draw) for width in (5, len(counts)))
    return TrainFeatures(features, None, label, torch.arange(len(label)), teacher_logits, key_features=features)


def expert_terms(loss: nn.Module, expert_logits: Tensor, label: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
    """Compute the terms of an expert loss; the prediction is the mean of the experts by default."""
    return loss(LossInputs(label, expert_logits=expert_logits, **{'cls_score': expert_logits.mean(0), **inputs}))


@MODELS.register_module(force=True)
class TwoTerms(Objective):
    """Squared lengths of logits and of features, means over the images; keeps its last inputs."""

    requires = ('cls_score', 'features')

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Return both terms."""
        self.inputs = inputs
        num = max(len(inputs.label), 1)
        return dict(
            loss_logits=inputs.cls_score.square().sum() / num, loss_features=inputs.features.square().sum() / num
        )
