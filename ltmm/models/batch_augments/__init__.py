"""Batch augmentations that favor rare classes, for ``augments`` of a model's ``train_cfg``, as mmpretrain's ``Mixup``.

Importing this package registers them with mmpretrain, which looks them up before any other part of ltmm is imported: a
config needs ``custom_imports = dict(imports='ltmm.models.batch_augments')``. ``ltmm.BatchAugmentHook``, which is in
ltmm's default_runtime.py, connects them to the training.
"""

from .base import BATCH_AUGMENTS, BatchAugment, PriorBatchAugment
from .cmo import CMO
from .global_local_mix import GlobalLocalMix
from .mixup_with_originals import MixupWithOriginals
from .partners import PartnerBatchAugment, PartnerStream
from .remix import Remix
from .unimix import UniMix

__all__ = [
    'BATCH_AUGMENTS',
    'CMO',
    'BatchAugment',
    'GlobalLocalMix',
    'MixupWithOriginals',
    'PartnerBatchAugment',
    'PartnerStream',
    'PriorBatchAugment',
    'Remix',
    'UniMix',
]
