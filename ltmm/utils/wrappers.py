"""Access to a model inside its wrapper."""

from mmengine.model import is_model_wrapper
from torch import nn

__all__ = ['unwrap_model']


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the model inside MMEngine's wrapper for distributed training, or the model itself if it has none."""
    return model.module if is_model_wrapper(model) else model
