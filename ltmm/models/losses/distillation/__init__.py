from .lfme_loss import LFMELoss
from .masked_feature_loss import MaskedFeatureLoss
from .query_shared_kd_loss import QuerySharedKDLoss

__all__ = ['LFMELoss', 'MaskedFeatureLoss', 'QuerySharedKDLoss']
