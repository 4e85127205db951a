from .asl_loss import ASLLoss
from .base import MultiLabelLoss, MultiLabelPriorLoss
from .bce_loss import MultiLabelBCELoss
from .distribution_balanced_loss import DistributionBalancedLoss
from .focal_loss import MultiLabelFocalLoss
from .head_tail_balancer_loss import HeadTailBalancerLoss
from .hill_loss import HillLoss
from .k_positive_ce_loss import KPositiveCELoss
from .multi_focal_modifier_loss import MultiFocalModifierLoss
from .multi_label_ldam_loss import MultiLabelLDAMLoss
from .partial_asl_loss import PartialASLLoss
from .reflective_label_corrector_loss import ReflectiveLabelCorrectorLoss
from .splc_loss import SPLCLoss

__all__ = [
    'ASLLoss',
    'DistributionBalancedLoss',
    'HeadTailBalancerLoss',
    'HillLoss',
    'KPositiveCELoss',
    'MultiFocalModifierLoss',
    'MultiLabelBCELoss',
    'MultiLabelFocalLoss',
    'MultiLabelLDAMLoss',
    'MultiLabelLoss',
    'MultiLabelPriorLoss',
    'PartialASLLoss',
    'ReflectiveLabelCorrectorLoss',
    'SPLCLoss',
]
