from torch import nn

from ltmm.registry import MODELS

from .normed_linear import NormedLinear

MODELS.register_module('Linear', module=nn.Linear)

__all__ = ['NormedLinear']
