from .adjusted_ce_loss import AdjustedCrossEntropyLoss
from .asl_single_label_loss import ASLSingleLabelLoss
from .balanced_softmax_loss import BalancedSoftmaxLoss
from .base import ClassificationLoss, ClassPriorLoss, reduce_loss
from .cdt_loss import CDTLoss
from .class_balanced_loss import ClassBalancedLoss
from .deferred_reweighting import DeferredReweighting
from .eql_loss import EQLLoss
from .eqlv2_loss import EQLv2Loss
from .expert import BalPoELoss, ExpertLoss, MDCSLoss, RIDEDistillLoss, RIDELoss, SADELoss
from .gap_loss import GAPLoss
from .ldam_loss import LDAMLoss
from .logit_adjustment_loss import LogitAdjustmentLoss
from .masked_feature_loss import MaskedFeatureLoss
from .multi_label import (
    ASLLoss,
    DistributionBalancedLoss,
    HeadTailBalancerLoss,
    HillLoss,
    KPositiveCELoss,
    MultiFocalModifierLoss,
    MultiLabelBCELoss,
    MultiLabelFocalLoss,
    MultiLabelLoss,
    MultiLabelPriorLoss,
    PartialASLLoss,
    ReflectiveLabelCorrectorLoss,
    SPLCLoss,
)
from .query_shared_kd_loss import QuerySharedKDLoss
from .reweighted_loss import ReweightedLoss
from .rog_loss import ROGLoss
from .roi_cls_loss import RoIClsLoss
from .roi_expert_loss import RoIExpertLoss, RoILossPerExpert
from .seesaw_loss import SeesawLoss
from .sigmoid_ce_loss import SigmoidCrossEntropyLoss
from .sigmoid_focal_loss import SigmoidFocalLoss
from .softmax_focal_loss import SoftmaxFocalLoss
from .vs_loss import VSLoss

__all__ = [
    'ASLLoss',
    'ASLSingleLabelLoss',
    'AdjustedCrossEntropyLoss',
    'BalPoELoss',
    'BalancedSoftmaxLoss',
    'CDTLoss',
    'ClassBalancedLoss',
    'ClassPriorLoss',
    'ClassificationLoss',
    'DeferredReweighting',
    'DistributionBalancedLoss',
    'EQLLoss',
    'EQLv2Loss',
    'ExpertLoss',
    'GAPLoss',
    'HeadTailBalancerLoss',
    'HillLoss',
    'KPositiveCELoss',
    'LDAMLoss',
    'LogitAdjustmentLoss',
    'MDCSLoss',
    'MaskedFeatureLoss',
    'MultiFocalModifierLoss',
    'MultiLabelBCELoss',
    'MultiLabelFocalLoss',
    'MultiLabelLoss',
    'MultiLabelPriorLoss',
    'PartialASLLoss',
    'QuerySharedKDLoss',
    'RIDEDistillLoss',
    'RIDELoss',
    'ROGLoss',
    'ReflectiveLabelCorrectorLoss',
    'ReweightedLoss',
    'RoIClsLoss',
    'RoIExpertLoss',
    'RoILossPerExpert',
    'SADELoss',
    'SPLCLoss',
    'SeesawLoss',
    'SigmoidCrossEntropyLoss',
    'SigmoidFocalLoss',
    'SoftmaxFocalLoss',
    'VSLoss',
    'reduce_loss',
]
