"""Selectors of the training samples whose labels are right."""

from .base import CleanSelector
from .bi_dimensional_selector import BiDimensionalSelector
from .loss_mixture_selector import LossMixtureSelector

__all__ = ['BiDimensionalSelector', 'CleanSelector', 'LossMixtureSelector']
