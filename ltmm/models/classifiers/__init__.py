from .comic import COMIC
from .distill_classifier import DistillClassifier
from .focal_sam_classifier import FocalSAMClassifier

__all__ = ['COMIC', 'DistillClassifier', 'FocalSAMClassifier']
