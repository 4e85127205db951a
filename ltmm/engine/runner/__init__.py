from .expert_aggregation_loop import ExpertAggregationLoop

__all__ = ['ExpertAggregationLoop']
