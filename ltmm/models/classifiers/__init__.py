from .comic import COMIC
from .distill_classifier import DistillClassifier
from .early_exit_classifier import EarlyExitClassifier
from .focal_sam_classifier import FocalSAMClassifier
from .momentum_classifier import MomentumClassifier

__all__ = ['COMIC', 'DistillClassifier', 'EarlyExitClassifier', 'FocalSAMClassifier']
__all__ = ['COMIC', 'DistillClassifier', 'FocalSAMClassifier', 'MomentumClassifier']
from .lfme_classifier import LFMEClassifier

__all__ = ['COMIC', 'DistillClassifier', 'FocalSAMClassifier', 'LFMEClassifier']
