"""Calls of losses, for tests."""

from torch import Tensor, nn

from ltmm.models.losses import LossInputs


def expert_terms(loss: nn.Module, expert_logits: Tensor, label: Tensor, **inputs: Tensor) -> dict[str, Tensor]:
    """Compute the terms of an expert loss."""
    return loss(LossInputs(label, expert_logits=expert_logits, **inputs))
