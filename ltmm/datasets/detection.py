"""Datasets of mmdet, where it is installed."""

from ltmm.utils.environment import mmdet_is_usable

if mmdet_is_usable():
    from .cached_lvis import CachedLVISDataset
    from .lvis import LVISDataset, report_dropped_boxes
    from .openimages import OpenImagesChallengeDataset
    from .voc import VOCDataset
    from .wrappers.repeat_factor_mix import RepeatFactorMixDataset
    from .wrappers.smooth_tail import SmoothTailDataset

    __all__ = [
        'CachedLVISDataset',
        'LVISDataset',
        'OpenImagesChallengeDataset',
        'RepeatFactorMixDataset',
        'SmoothTailDataset',
        'VOCDataset',
        'report_dropped_boxes',
    ]
