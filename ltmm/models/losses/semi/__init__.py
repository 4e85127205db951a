from .base import SemiSupervisedLoss
from .fixmatch_loss import FixMatchLoss

__all__ = ['FixMatchLoss', 'SemiSupervisedLoss']
