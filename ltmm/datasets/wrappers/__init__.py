from .class_subset import ClassSubset
from .holdout import Holdout, split_holdout
from .long_tailed import LongTailed, counts_of_total, long_tailed_counts, select_long_tailed
from .noisy_labels import NoisyLabels
from .open_set import OpenSet
from .partial_labels import PartialLabels
from .pseudo_labeled import PseudoLabeled
from .random_subset import RandomSubset
from .selection import Selection
from .semi_split import SemiSplit, unlabeled_counts
from .semi_supervised import SemiSupervised, semi_supervised_collate
from .shifted_test_set import ShiftedTestSet

__all__ = [
    'ClassSubset',
    'Holdout',
    'LongTailed',
    'NoisyLabels',
    'OpenSet',
    'PartialLabels',
    'PseudoLabeled',
    'RandomSubset',
    'Selection',
    'SemiSplit',
    'SemiSupervised',
    'ShiftedTestSet',
    'counts_of_total',
    'long_tailed_counts',
    'select_long_tailed',
    'semi_supervised_collate',
    'split_holdout',
    'unlabeled_counts',
]
