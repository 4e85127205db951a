from .feature_projection import FeatureProjection
from .modulated_attention import ModulatedAttention
from .pfc import PFC
from .residual_block import ResidualBlock
from .super_class_graph import SuperClassGraph

__all__ = ['PFC', 'FeatureProjection', 'ModulatedAttention', 'ResidualBlock', 'SuperClassGraph']
