from .part_multi_step_lr import PartMultiStepLR
from .shifted_cosine_lr import ShiftedCosineLR
from .warmup_cosine_lr import WarmupCosineLR

__all__ = ['PartMultiStepLR', 'ShiftedCosineLR', 'WarmupCosineLR']
