"""Calls of losses, and an objective that shows its inputs."""

from torch import Tensor, nn

from ltmm.models.losses import LossInputs, Objective
from ltmm.registry import MODELS


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
