from .acr_loss import ACRLoss
from .base import SemiSupervisedLoss
from .fixmatch_loss import FixMatchLoss

__all__ = ['ACRLoss', 'FixMatchLoss', 'SemiSupervisedLoss']
