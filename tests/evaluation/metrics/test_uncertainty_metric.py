import pytest
import torch

from ltmm import ClassDistribution
from ltmm.evaluation import UncertaintyMetric
from ltmm.utils.errors import InputError

DISTRIBUTION = ClassDistribution([200, 50, 30, 5])
# (label, prediction, uncertainty)
ROWS = [(0, 0, 0.1), (0, 1, 0.4), (1, 1, 0.2), (2, 2, 0.3), (3, 0, 0.6), (3, 3, 0.5), (3, 3, 0.15)]
UNKNOWN = [(-1, 0, 0.7), (-1, 2, 0.35)]


def figures(rows: list[tuple], **kwargs) -> dict[str, float]:
    metric = UncertaintyMetric(**kwargs)
    metric.set_class_distribution(DISTRIBUTION)
    for label, pred, uncertainty in rows:
        score = torch.full((4,), uncertainty / 3)
        score[pred] = 1 - uncertainty
        sample = dict(gt_label=torch.tensor([label]), pred_score=score)
        if metric.source == 'uncertainty':
            sample['uncertainty'] = torch.tensor(uncertainty)
        metric.process(None, [sample])
    return {name.removeprefix('uncertainty/'): value for name, value in metric.evaluate(len(rows)).items()}


@pytest.mark.parametrize('source', ['uncertainty', 'confidence'])
def test_figures_by_hand(source):
    # few-shot 0.6, 0.5, 0.15 against 0.1, 0.4, 0.2, 0.3; wrong 0.4, 0.6 against 0.1, 0.2, 0.3, 0.5, 0.15
    expected = dict(auroc_tail=100 * 9 / 12, auroc_failure=100 * 9 / 10, auroc_unknown=100 * (7 + 4) / 14)
    assert figures([*ROWS, *UNKNOWN], source=source) == pytest.approx(expected)
    del expected['auroc_unknown']
    assert figures(ROWS, source=source) == pytest.approx(expected)


def test_tail_by_rank():
    got = figures(ROWS, convention='mislas', num_many=1, num_few=3)
    assert got['auroc_tail'] == pytest.approx(100 * 7 / 10)  # 0.2, 0.3, 0.6, 0.5, 0.15 against 0.1, 0.4


def test_without_mistakes_or_tail():
    assert figures([(0, 0, 0.1), (1, 1, 0.2)]) == {}


def test_needs_the_uncertainty():
    metric = UncertaintyMetric()
    metric.set_class_distribution(DISTRIBUTION)
    with pytest.raises(
        InputError, match=r"UncertaintyMetric expects `uncertainty`.*EvidentialAggregation.*'confidence'"
    ):
        metric.process(None, [dict(gt_label=torch.tensor([0]), pred_score=torch.ones(4) / 4)])


@pytest.mark.parametrize(
    ('row', 'message'),
    [((0, 0, float('nan')), 'finite scores, but got NaN'), ((4, 0, 0.1), r'`gt_label` to be in \[-1, 4\)')],
)
def test_broken_samples_are_refused(row, message):
    with pytest.raises(InputError, match=message):
        figures([row])
