from .balanced_contrastive_loss import BalancedContrastiveLoss
from .disc_centroids_loss import DiscCentroidsLoss

__all__ = ['BalancedContrastiveLoss', 'DiscCentroidsLoss']
