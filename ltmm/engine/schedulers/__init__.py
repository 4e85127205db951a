from .part_multi_step_lr import PartMultiStepLR
from .shifted_cosine_lr import ShiftedCosineLR

__all__ = ['PartMultiStepLR', 'ShiftedCosineLR']
