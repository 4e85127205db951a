import pytest
import torch

from ltmm.evaluation import SetCoverageMetric, set_coverage


def samples(num=40):
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(num) % 3
    sets = torch.rand(num, 4, generator=generator) > 0.5
    return [dict(gt_label=y[None], pred_set=s) for y, s in zip(label, sets)], sets, label


def test_figures_whatever_the_batches():
    data, sets, label = samples()
    metric = SetCoverageMetric(class_counts=[300, 50, 10, 5])
    for start in range(0, 40, 7):
        metric.process({}, data[start : start + 7])
    figures = metric.evaluate(40)
    for name, value in set_coverage(sets.numpy(), label.numpy()).figures(metric.shots).items():
        assert figures[f'coverage/{name}'] == pytest.approx(value if name.startswith('size') else 100 * value)


def test_model_without_sets_is_refused():
    with pytest.raises(ValueError, match='Expected `pred_set`.*--method conformal'):
        SetCoverageMetric().process({}, [dict(gt_label=torch.tensor([0]))])


def test_label_out_of_range():
    with pytest.raises(ValueError, match=r'`gt_label` to be in \[0, 2\), but sample 3 has 2'):
        SetCoverageMetric().process({}, [dict(gt_label=torch.tensor([2]), pred_set=torch.ones(2).bool(), sample_idx=3)])
