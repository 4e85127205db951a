from .feature_projection import FeatureProjection
from .modulated_attention import ModulatedAttention
from .pfc import PFC

__all__ = ['PFC', 'FeatureProjection', 'ModulatedAttention']
