"""Datasets, their wrappers, labels, transforms and samplers.

``from ltmm.datasets import X`` finds X in the modules below, and imports a module only when something in it is needed.
"""

from ltmm.registry import DATASET_PACKAGES
from ltmm.utils.lazy import lazy_attributes

__getattr__ = lazy_attributes(__name__, DATASET_PACKAGES)
