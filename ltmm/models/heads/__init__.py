from .comic_head import COMICHead
from .corrected_head import corrected_head
from .expert_aggregation import EvidentialAggregation, MeanAggregation, WeightedAggregation
from .expert_routing_head import ExpertRoutingHead
from .lmr_head import LMRHead
from .long_tail_cls_head import LongTailClsHead
from .multi_expert_cls_head import MultiExpertClsHead
from .multi_label_cls_head import MultiLabelClsHead
from .pretrain_head import PretrainHead

__all__ = [
    'COMICHead',
    'EvidentialAggregation',
    'ExpertRoutingHead',
    'LMRHead',
    'LongTailClsHead',
    'MeanAggregation',
    'MultiExpertClsHead',
    'MultiLabelClsHead',
    'PretrainHead',
    'WeightedAggregation',
    'corrected_head',
]
