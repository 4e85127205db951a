from .feature_projection import FeatureProjection
from .pfc import PFC

__all__ = ['PFC', 'FeatureProjection']
