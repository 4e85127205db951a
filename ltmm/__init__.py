"""Long-tailed recognition for the OpenMMLab 2.x family."""

from ltmm import registry
from ltmm.class_distribution import ClassDistribution
from ltmm.version import __version__

__all__ = ['ClassDistribution', '__version__']
