"""Which expert is good at which classes."""

from collections.abc import Sequence
from typing import Any

from ltmm.registry import METRICS

from .long_tail_metric import LongTailMetric

__all__ = ['ExpertMetric']

FIGURES = ('top1', 'many', 'medium', 'few')


@METRICS.register_module()
class ExpertMetric(LongTailMetric):
    """:class:`LongTailMetric` of each expert of :class:`ltmm.models.MultiExpertClsHead` for itself.

    Figures are ``0_top1``, ``0_many``, ``0_medium``, ``0_few`` of the first expert, and so on. Use it beside
    LongTailMetric, which measures the prediction of all: ``test_evaluator = [dict(type='ltmm.LongTailMetric'),
    dict(type='ltmm.ExpertMetric')]``. The figures of each class are written for each expert too.

    Args:
        csv_name: file of the figures of each class, beside the log; ``{}`` stands for the expert. None for none.
        **kwargs: of :class:`LongTailMetric`.

    Raises:
        ValueError: predictions of a model without experts, or what :class:`LongTailMetric` raises.
    """

    default_prefix = 'expert'

    def __init__(self, csv_name: str | None = 'per_class_expert{}.csv', **kwargs: Any) -> None:
        super().__init__(topk=(1,), csv_name=csv_name, **kwargs)
        self.csv_template = csv_name

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep label, prediction and rank of the label by each expert.

        Args:
            data_batch: not used.
            data_samples: what the model gives, with ``gt_label`` (1,) and ``expert_scores`` (E, C).
        """
        if any('expert_scores' not in sample for sample in data_samples):
            raise ValueError(
                "ExpertMetric expects `expert_scores` of each image, which head=dict(type='ltmm.MultiExpertClsHead') "
                'gives. A model without experts needs ltmm.LongTailMetric alone.'
            )
        images, self.results = self.results, []
        rows = []
        for e in range(len(data_samples[0]['expert_scores'])):
            super().process(data_batch, [{**s, 'pred_score': s['expert_scores'][e]} for s in data_samples])
            rows.append(self.results)
            self.results = []
        self.results = images + list(zip(*rows))  # one entry an image, of E rows

    def compute_metrics(self, results: list[tuple[tuple[int, int, int], ...]]) -> dict[str, float]:
        """The figures of each expert, in percent.

        Args:
            results: (label, prediction, rank of the label) by each expert, of all images of all ranks.
        """
        metrics = {}
        for e, rows in enumerate(zip(*results)):
            self.csv_name = None if self.csv_template is None else self.csv_template.format(e)
            figures = super().compute_metrics(list(rows))
            metrics |= {f'{e}_{name}': figures[name] for name in FIGURES}
        return metrics
