from .balpoe_loss import BalPoELoss
from .base import ExpertLoss, expert_cross_entropy
from .expert_routing_loss import ExpertRoutingLoss
from .lgla_loss import LGLALoss
from .evidence import evidential_weights
from .mdcs_loss import MDCSLoss
from .per_expert_loss import PerExpertLoss
from .reweighted_expert_loss import DeferredExpertReweighting, ReweightedExpertLoss
from .ncl_loss import NCLLoss
from .ncl_plus_loss import NCLPlusLoss
from .ride_distill_loss import RIDEDistillLoss
from .ride_loss import RIDELoss
from .sade_loss import SADELoss
from .shike_loss import SHIKELoss

__all__ = [
    'BalPoELoss',
    'DeferredExpertReweighting',
    'ExpertLoss',
    'MDCSLoss',
    'PerExpertLoss',
    'RIDEDistillLoss',
    'RIDELoss',
    'ReweightedExpertLoss',
    'SADELoss',
    'SHIKELoss',
    'ExpertLoss',
    'ExpertRoutingLoss',
    'LGLALoss',
    'MDCSLoss',
    'ExpertLoss',
    'MDCSLoss',
    'NCLLoss',
    'NCLPlusLoss',
    'RIDEDistillLoss',
    'RIDELoss',
    'SADELoss',
from .tlc_loss import TLCLoss

__all__ = [
    'BalPoELoss',
    'ExpertLoss',
    'MDCSLoss',
    'RIDEDistillLoss',
    'RIDELoss',
    'SADELoss',
    'TLCLoss',
    'evidential_weights',
    'expert_cross_entropy',
]
