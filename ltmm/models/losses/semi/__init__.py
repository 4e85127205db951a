from .acr_loss import ACRLoss
from .adello_loss import ADELLOLoss
from .base import SemiSupervisedLoss
from .fixmatch_loss import FixMatchLoss
from .simpro_loss import SimProLoss

__all__ = ['ACRLoss', 'ADELLOLoss', 'FixMatchLoss', 'SemiSupervisedLoss', 'SimProLoss']
