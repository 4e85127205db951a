from .feature_projection import FeatureProjection
from .modulated_attention import ModulatedAttention
from .pfc import PFC
from .residual_block import ResidualBlock

__all__ = ['PFC', 'FeatureProjection', 'ModulatedAttention', 'ResidualBlock']
