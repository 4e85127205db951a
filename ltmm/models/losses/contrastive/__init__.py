from .balanced_contrastive_loss import BalancedContrastiveLoss
from .curvature_loss import CurvatureLoss
from .disc_centroids_loss import DiscCentroidsLoss

__all__ = ['BalancedContrastiveLoss', 'CurvatureLoss', 'DiscCentroidsLoss']
