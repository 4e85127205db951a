from .checkpoint_compatibility_hook import CheckpointCompatibilityHook
from .checkpoint_hook import SafeCheckpointHook
from .class_distribution_hook import ClassDistributionHook
from .epoch_seed_hook import EpochSeedHook
from .invalid_loss_hook import InvalidLossHook

__all__ = [
    'CheckpointCompatibilityHook',
    'ClassDistributionHook',
    'EpochSeedHook',
    'InvalidLossHook',
    'SafeCheckpointHook',
]
