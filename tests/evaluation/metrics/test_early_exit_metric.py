import pytest
import torch

from ltmm import ClassDistribution
from ltmm.evaluation import EarlyExitMetric
from ltmm.utils.errors import InputError


def sample(label: int, num_experts: int) -> dict:
    flops = [40_000_000, 60_000_000, 100_000_000]
    return dict(
        gt_label=torch.tensor([label]), num_experts=num_experts, flops=flops[num_experts - 1], max_flops=flops[2]
    )


def test_averages():
    metric = EarlyExitMetric()
    metric.set_class_distribution(ClassDistribution([500, 200, 5]))
    for batch in ([sample(0, 1), sample(1, 2)], [sample(2, 3), sample(2, 2)]):
        metric.process(None, batch)
    figures = metric.evaluate(4)
    assert {name.removeprefix('early_exit/') for name in figures} == {
        'num_experts',
        'many',
        'few',
        'gflops',
        'flops_share',
    }
    assert figures['early_exit/num_experts'] == 2
    assert (figures['early_exit/many'], figures['early_exit/few']) == (1.5, 2.5)
    assert figures['early_exit/gflops'] == pytest.approx(0.065)
    assert figures['early_exit/flops_share'] == pytest.approx(65)


def test_other_models():
    with pytest.raises(InputError, match='only ltmm.EarlyExitClassifier predicts'):
        EarlyExitMetric(class_counts=[2, 1]).process(None, [dict(gt_label=torch.tensor([0]))])
