from .part_multi_step_lr import PartMultiStepLR

__all__ = ['PartMultiStepLR']
