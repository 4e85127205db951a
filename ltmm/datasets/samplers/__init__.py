from .base import ClassSampler, LongTailSampler
from .class_aware_sampler import ClassAwareSampler
from .co_divide_batch_sampler import CoDivideBatchSampler
from .deferred_sampler import DeferredSampler
from .effective_number_sampler import EffectiveNumberSampler
from .meta_sampler import MetaSampler
from .power_sampler import PowerSampler
from .progressively_balanced_sampler import ProgressivelyBalancedSampler
from .repeat_factor_sampler import RepeatFactorSampler
from .semi_supervised_sampler import SemiSupervisedSampler

__all__ = [
    'ClassAwareSampler',
    'CoDivideBatchSampler',
    'ClassSampler',
    'DeferredSampler',
    'EffectiveNumberSampler',
    'LongTailSampler',
    'MetaSampler',
    'PowerSampler',
    'ProgressivelyBalancedSampler',
    'RepeatFactorSampler',
    'SemiSupervisedSampler',
]
