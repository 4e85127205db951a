from .batch_augment_hook import BatchAugmentHook
from .channels_last_hook import ChannelsLastHook
from .checkpoint_compatibility_hook import CheckpointCompatibilityHook
from .checkpoint_hook import SafeCheckpointHook
from .class_distribution_hook import ClassDistributionHook
from .clean_selection_hook import CleanSelectionHook
from .co_divide_hook import CoDivideHook
from .curriculum_hook import CurriculumHook
from .data_check_hook import DataCheckHook
from .early_stopping_hook import EarlyStoppingHook
from .epoch_seed_hook import EpochSeedHook
from .freeze_hook import FreezeHook
from .invalid_loss_hook import InvalidLossHook
from .load_parts_hook import LoadPartsHook
from .max_norm_hook import MaxNormHook
from .meta_batch_hook import MetaBatchHook
from .meta_sampler_hook import MetaSamplerHook
from .metrics_hook import MetricsHook
from .post_process_hook import PostProcessHook
from .progress_hook import ProgressHook
from .pseudo_label_hook import PseudoLabelHook
from .ranks_hook import RanksHook
from .tracking_hook import TrackingHook
from .train_features_hook import TrainFeaturesHook

__all__ = [
    'BatchAugmentHook',
    'CleanSelectionHook',
    'CoDivideHook',
    'ChannelsLastHook',
    'CheckpointCompatibilityHook',
    'ClassDistributionHook',
    'CurriculumHook',
    'DataCheckHook',
    'EarlyStoppingHook',
    'EpochSeedHook',
    'FreezeHook',
    'InvalidLossHook',
    'LoadPartsHook',
    'MaxNormHook',
    'MetaBatchHook',
    'MetaSamplerHook',
    'MetricsHook',
    'PostProcessHook',
    'ProgressHook',
    'PseudoLabelHook',
    'RanksHook',
    'SafeCheckpointHook',
    'TrackingHook',
    'TrainFeaturesHook',
]
