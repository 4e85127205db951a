from torch import nn

from ltmm.registry import MODELS

from .additive_attention import AdditiveAttention
from .causal_cosine import CausalCosine
from .classifier_ensemble import ClassifierEnsemble
from .meta_embedding import MetaEmbedding
from .nearest_mean import NearestMean
from .normed_linear import CosineLayer, NormedLinear
from .per_expert import PerExpert
from .scaled_linear import ScaledLinear
from .two_branch_linear import TwoBranchLinear

MODELS.register_module('Linear', module=nn.Linear)

__all__ = [
    'AdditiveAttention',
    'CausalCosine',
    'ClassifierEnsemble',
    'CosineLayer',
    'MetaEmbedding',
    'NearestMean',
    'NormedLinear',
    'PerExpert',
    'ScaledLinear',
    'TwoBranchLinear',
]
