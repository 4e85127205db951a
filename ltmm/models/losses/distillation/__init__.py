from .masked_feature_loss import MaskedFeatureLoss
from .query_shared_kd_loss import QuerySharedKDLoss

__all__ = ['MaskedFeatureLoss', 'QuerySharedKDLoss']
