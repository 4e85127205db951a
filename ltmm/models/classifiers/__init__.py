from .co_divide_classifier import CoDivideClassifier
from .comic import COMIC
from .distill_classifier import DistillClassifier
from .early_exit_classifier import EarlyExitClassifier
from .focal_sam_classifier import FocalSAMClassifier
from .lfme_classifier import LFMEClassifier
from .momentum_classifier import MomentumClassifier
from .per_view_classifier import PerViewClassifier
from .rotation_pretrainer import RotationPretrainer
from .semi_supervised_classifier import SemiSupervisedClassifier
from .super_disco_classifier import SuperDiscoClassifier

__all__ = [
    'COMIC',
    'CoDivideClassifier',
    'DistillClassifier',
    'EarlyExitClassifier',
    'FocalSAMClassifier',
    'LFMEClassifier',
    'MomentumClassifier',
    'PerViewClassifier',
    'RotationPretrainer',
    'SemiSupervisedClassifier',
    'SuperDiscoClassifier',
]
