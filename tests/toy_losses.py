"""Preparation and calls of losses, and an objective that shows its inputs."""

from torch import Tensor, nn

from ltmm import ClassDistribution
from ltmm.models.losses import LossInputs, Objective
from ltmm.registry import MODELS


def prepare(module: nn.Module, counts: list[int], epoch: int = 0, **distribution: int) -> nn.Module:
    """Hand out the class distribution and the epoch, as the hooks do before a training."""
    for part in module.modules():
        if hasattr(part, 'set_class_distribution'):
            part.set_class_distribution(ClassDistribution(counts, **distribution))
        if hasattr(part, 'set_progress'):
            part.set_progress(epoch, 10)
    return module


def expert_terms(loss: nn.Module, expert_logits: Tensor, label: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
    """Compute the terms of an expert loss."""
    return loss(LossInputs(label, expert_logits=expert_logits, **inputs))


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
