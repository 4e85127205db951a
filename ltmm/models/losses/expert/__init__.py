from .balpoe_loss import BalPoELoss
from .base import ExpertLoss, expert_cross_entropy
from .evidence import evidential_weights
from .expert_routing_loss import ExpertRoutingLoss
from .lgla_loss import LGLALoss
from .mdcs_loss import MDCSLoss
from .ncl_loss import NCLLoss
from .ncl_plus_loss import NCLPlusLoss
from .per_expert_loss import PerExpertLoss
from .reweighted_expert_loss import DeferredExpertReweighting, ReweightedExpertLoss
from .ride_distill_loss import RIDEDistillLoss
from .ride_loss import RIDELoss
from .sade_loss import SADELoss
from .shike_loss import SHIKELoss
from .tlc_loss import TLCLoss

__all__ = [
    'BalPoELoss',
    'DeferredExpertReweighting',
    'ExpertLoss',
    'ExpertRoutingLoss',
    'LGLALoss',
    'MDCSLoss',
    'NCLLoss',
    'NCLPlusLoss',
    'PerExpertLoss',
    'RIDEDistillLoss',
    'RIDELoss',
    'ReweightedExpertLoss',
    'SADELoss',
    'SHIKELoss',
    'TLCLoss',
    'evidential_weights',
    'expert_cross_entropy',
]
