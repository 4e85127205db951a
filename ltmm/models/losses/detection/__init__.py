from .bacl_loss import BACLLoss
from .bags_loss import BalancedGroupSoftmaxLoss
from .base import BoxHeadLoss, BoxHeadObjective, ClassPriorDetectionLoss, DenseHeadLoss, DetectionLoss
from .drop_loss import DropLoss
from .ecm_loss import ECMLoss
from .efl_loss import EqualizedFocalLoss, EqualizedQualityFocalLoss
from .eql_loss import EQLLoss
from .eqlv2_loss import EQLv2Loss
from .fcbl_loss import FCBLLoss
from .federated_loss import FederatedLoss
from .gap_loss import GAPLoss
from .gumbel_loss import GumbelCrossEntropyLoss
from .loce_loss import LOCELoss
from .rog_loss import ROGLoss
from .roi_expert_loss import RoIExpertLoss, RoILossPerExpert
from .seesaw_loss import SeesawLoss
from .sigmoid_ce_loss import SigmoidCrossEntropyLoss

__all__ = [
    'BACLLoss',
    'BalancedGroupSoftmaxLoss',
    'DropLoss',
    'ECMLoss',
    'EqualizedFocalLoss',
    'EqualizedQualityFocalLoss',
    'EQLLoss',
    'EQLv2Loss',
    'FCBLLoss',
    'FederatedLoss',
    'GAPLoss',
    'GumbelCrossEntropyLoss',
    'LOCELoss',
    'ROGLoss',
    'BoxHeadLoss',
    'BoxHeadObjective',
    'ClassPriorDetectionLoss',
    'DenseHeadLoss',
    'DetectionLoss',
    'RoIExpertLoss',
    'RoILossPerExpert',
    'SeesawLoss',
    'SigmoidCrossEntropyLoss',
]
