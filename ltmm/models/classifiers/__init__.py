from .comic import COMIC
from .distill_classifier import DistillClassifier

__all__ = ['COMIC', 'DistillClassifier']
