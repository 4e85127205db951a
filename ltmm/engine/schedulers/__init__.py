from .part_multi_step_lr import PartMultiStepLR
from .shifted_cosine_lr import ShiftedCosineLR
from .warmup_cosine_lr import WarmupCosineLR
from .warmup_to_cosine_lr import WarmupToCosineLR

__all__ = ['PartMultiStepLR', 'ShiftedCosineLR', 'WarmupCosineLR', 'WarmupToCosineLR']
