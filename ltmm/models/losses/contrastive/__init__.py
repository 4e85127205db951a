from .balanced_contrastive_loss import BalancedContrastiveLoss
from .curvature_loss import CurvatureLoss
from .disc_centroids_loss import DiscCentroidsLoss
from .kcl_loss import KCLLoss
from .momentum_contrast_loss import MomentumContrastLoss
from .parametric_contrast_loss import GPaCoLoss, PaCoLoss
from .rcal_loss import RCALLoss
from .subclass_balanced_contrastive_loss import SubclassBalancedContrastiveLoss
from .sup_con_loss import SupConLoss
from .view_consistency_loss import ViewConsistencyLoss

__all__ = [
    'BalancedContrastiveLoss',
    'CurvatureLoss',
    'DiscCentroidsLoss',
    'GPaCoLoss',
    'KCLLoss',
    'MomentumContrastLoss',
    'PaCoLoss',
    'RCALLoss',
    'SubclassBalancedContrastiveLoss',
    'SupConLoss',
    'ViewConsistencyLoss',
]
