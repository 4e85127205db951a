from .expert_aggregation import EvidentialAggregation, MeanAggregation, WeightedAggregation
from .long_tail_cls_head import LongTailClsHead
from .multi_expert_cls_head import MultiExpertClsHead

__all__ = [
    'EvidentialAggregation',
    'LongTailClsHead',
    'MeanAggregation',
    'MultiExpertClsHead',
    'WeightedAggregation',
]
