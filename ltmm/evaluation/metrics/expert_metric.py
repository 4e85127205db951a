"""Accuracy of each expert on many-, medium- and few-shot classes."""

from collections.abc import Sequence
from typing import Any

from ltmm.registry import METRICS
from ltmm.utils.errors import InputError

from .long_tail_metric import LongTailMetric

__all__ = ['ExpertMetric']

FIGURES = ('top1', 'many', 'medium', 'few')


@METRICS.register_module()
class ExpertMetric(LongTailMetric):
    """:class:`LongTailMetric` of each expert of :class:`ltmm.models.MultiExpertClsHead`.

    The figures of the first expert are ``0_top1``, ``0_many``, ``0_medium``, ``0_few``, and so on. Combine it with
    LongTailMetric, which evaluates the combined prediction: ``test_evaluator = [dict(type='ltmm.LongTailMetric'),
    dict(type='ltmm.ExpertMetric')]``.

    Args:
        csv_name: File for the figures per class, next to the log; ``{}`` is the index of the expert. None: no file.
        **kwargs: See :class:`LongTailMetric`.
    """

    default_prefix = 'expert'

    def __init__(self, csv_name: str | None = 'per_class_expert{}.csv', **kwargs: Any) -> None:
        super().__init__(topk=(1,), csv_name=csv_name, **kwargs)
        self.csv_template = csv_name

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store (label, prediction, rank of the label) per image and expert.

        Args:
            data_batch: Not used.
            data_samples: Predictions with ``gt_label`` (1,) and ``expert_scores`` (E, C).
        """
        if any('expert_scores' not in sample for sample in data_samples):
            raise InputError(
                "ExpertMetric expects `expert_scores`, which head=dict(type='ltmm.MultiExpertClsHead') predicts. "
                'Use ltmm.LongTailMetric for a model without experts.'
            )
        images, self.results = self.results, []
        rows = []
        for e in range(len(data_samples[0]['expert_scores'])):
            super().process(data_batch, [{**s, 'pred_score': s['expert_scores'][e]} for s in data_samples])
            rows.append(self.results)
            self.results = []
        self.results = images + list(zip(*rows))  # one entry per image, E rows in each

    def compute_metrics(self, results: list[tuple[tuple[int, int, int], ...]]) -> dict[str, float]:
        """Compute the figures per expert, in percent.

        Args:
            results: (label, prediction, rank of the label) per expert and image, from all ranks.
        """
        metrics = {}
        for e, rows in enumerate(zip(*results)):
            self.csv_name = None if self.csv_template is None else self.csv_template.format(e)
            figures = super().compute_metrics(list(rows))
            metrics |= {f'{e}_{name}': figures[name] for name in FIGURES if name in figures}
        return metrics
