from .adjusted_ce_loss import AdjustedCrossEntropyLoss
from .area_reweighting import AREAReweighting
from .asl_single_label_loss import ASLSingleLabelLoss
from .balanced_bce_loss import BalancedBCELoss, ClassBalancedBCELoss
from .balanced_softmax_loss import BalancedSoftmaxLoss
from .bayias_loss import BayiasLoss
from .cc_sam_loss import CCSAMFeatureLoss, CCSAMLoss
from .cdt_loss import CDTLoss
from .class_balanced_loss import ClassBalancedLoss
from .cumulative_loss import CumulativeLoss
from .deferred_reweighting import DeferredReweighting
from .geometric_mean_loss import GeometricMeanLoss
from .label_aware_smoothing_loss import LabelAwareSmoothingLoss
from .ldam_loss import LDAMLoss
from .logit_adjustment_loss import LogitAdjustmentLoss
from .reweighted_loss import ReweightedLoss
from .sigmoid_focal_loss import SigmoidFocalLoss
from .softmax_bce_loss import SoftmaxBCELoss
from .softmax_eql_loss import SoftmaxEQLLoss
from .softmax_focal_loss import SoftmaxFocalLoss
from .vs_loss import VSLoss

__all__ = [
    'AREAReweighting',
    'ASLSingleLabelLoss',
    'AdjustedCrossEntropyLoss',
    'BalancedBCELoss',
    'BalancedSoftmaxLoss',
    'CCSAMFeatureLoss',
    'CCSAMLoss',
    'BayiasLoss',
    'CDTLoss',
    'ClassBalancedBCELoss',
    'ClassBalancedLoss',
    'CumulativeLoss',
    'DeferredReweighting',
    'GeometricMeanLoss',
    'LDAMLoss',
    'LabelAwareSmoothingLoss',
    'LogitAdjustmentLoss',
    'ReweightedLoss',
    'SigmoidFocalLoss',
    'SoftmaxBCELoss',
    'SoftmaxEQLLoss',
    'SoftmaxFocalLoss',
    'VSLoss',
]
