from .balanced_contrastive_loss import BalancedContrastiveLoss
from .curvature_loss import CurvatureLoss
from .disc_centroids_loss import DiscCentroidsLoss
from .momentum_contrast_loss import MomentumContrastLoss
from .parametric_contrast_loss import GPaCoLoss, PaCoLoss
from .view_consistency_loss import ViewConsistencyLoss

__all__ = [
    'BalancedContrastiveLoss',
    'CurvatureLoss',
    'DiscCentroidsLoss',
    'GPaCoLoss',
    'MomentumContrastLoss',
    'PaCoLoss',
    'ViewConsistencyLoss',
]
