"""The model itself, where a runner may hold it in a wrapper."""

from mmengine.model import is_model_wrapper
from torch import nn

__all__ = ['unwrapped']


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside of MMEngine's wrapper for several processes, or the model as it is."""
    return model.module if is_model_wrapper(model) else model
