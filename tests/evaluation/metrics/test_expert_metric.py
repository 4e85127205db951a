import numpy as np
import pytest
import torch

from ltmm import ClassDistribution
from ltmm.evaluation import ExpertMetric, LongTailMetric

DISTRIBUTION = ClassDistribution([500, 200, 50, 5])
GROUPS = ('top1', 'many', 'medium', 'few')


def sample(label: int, scores: torch.Tensor) -> dict:
    return dict(gt_label=torch.tensor([label]), expert_scores=scores, pred_score=scores.mean(0), sample_idx=label)


def evaluated(metric, samples: list[dict]) -> dict:
    metric.set_class_distribution(DISTRIBUTION)
    for start in range(0, len(samples), 3):
        metric.process(None, samples[start : start + 3])
    return metric.evaluate(len(samples))


def test_figures_equal_those_of_each_expert_alone():
    rng = np.random.default_rng(0)
    samples = [sample(int(label), torch.rand(2, 4)) for label in rng.integers(0, 4, 20)]
    figures = evaluated(ExpertMetric(csv_name=None), samples)
    assert len(figures) == 8
    for e in range(2):
        alone = evaluated(
            LongTailMetric(topk=1, csv_name=None), [{**s, 'pred_score': s['expert_scores'][e]} for s in samples]
        )
        for group in GROUPS:
            assert figures[f'expert/{e}_{group}'] == alone[f'long_tail/{group}']


def test_experts_of_many_and_few_shot_classes():
    many, few = torch.tensor([1.0, 1, 0, 0]), torch.tensor([0.0, 0, 1, 1])
    samples = [sample(c, (1 + 2 * torch.eye(4)[c]) * torch.stack([many, few])) for c in range(4)]
    figures = evaluated(ExpertMetric(csv_name=None), samples)
    assert [figures[f'expert/0_{group}'] for group in GROUPS] == [50, 100, 0, 0]
    assert [figures[f'expert/1_{group}'] for group in GROUPS] == [50, 0, 100, 100]


def test_model_without_experts():
    metric = ExpertMetric()
    metric.set_class_distribution(DISTRIBUTION)
    with pytest.raises(ValueError, match='expects `expert_scores`'):
        metric.process(None, [dict(gt_label=torch.tensor([0]), pred_score=torch.rand(4))])
