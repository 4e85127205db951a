from .part_multi_step_lr import PartMultiStepLR
from .partial_cosine_lr import PartialCosineLR
from .shifted_cosine_lr import ShiftedCosineLR
from .warmup_cosine_lr import WarmupCosineLR
from .warmup_to_cosine_lr import WarmupToCosineLR

__all__ = ['PartMultiStepLR', 'PartialCosineLR', 'ShiftedCosineLR', 'WarmupCosineLR', 'WarmupToCosineLR']
