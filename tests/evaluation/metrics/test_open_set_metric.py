import pytest
import torch
from mmengine.evaluator import Evaluator
from mmpretrain.structures import DataSample

from ltmm import ClassDistribution
from ltmm.registry import METRICS
from ltmm.utils.errors import InputError

# (label, prediction, its probability)
KNOWN = [(0, 0, 0.9), (0, 1, 0.8), (0, 0, 0.4), (1, 1, 0.7), (2, 2, 0.6)]
UNKNOWN = [(-1, 0, 0.3), (-1, 2, 0.6), (-1, 1, 0.49)]


def figures(rows: list[tuple], **kwargs) -> dict[str, float]:
    samples = []
    for label, pred, confidence in rows:
        score = torch.full((4,), (1 - confidence) / 3)
        score[pred] = confidence
        samples.append(DataSample().set_gt_label(label).set_pred_score(score))
    evaluator = Evaluator(METRICS.build({'type': 'ltmm.OpenSetMetric', 'threshold': 0.5, **kwargs}))
    for metric in evaluator.metrics:
        metric.set_class_distribution(ClassDistribution([200, 50, 30, 5]))
    evaluator.process(samples[:2])
    evaluator.process(samples[2:])
    return {name.removeprefix('open_set/'): value for name, value in evaluator.evaluate(len(rows)).items()}


@pytest.mark.parametrize('count_rejects', [True, False])
def test_figures_by_hand(count_rejects):
    got = figures([*KNOWN, *UNKNOWN], count_rejects=count_rejects)
    # known: 3 right, 1 wrong, 1 rejected; unknown: 2 of 3 rejected
    precision, recall = 3 / (5 if count_rejects else 4), 3 / 4
    assert got.pop('f_measure') == pytest.approx(100 * 2 * precision * recall / (precision + recall))
    expected = dict(unknown=200 / 3, top1=60, many=100 / 3, medium=100)  # no image of class 3, which is few-shot
    assert got == pytest.approx(expected)


def test_without_unknown_images():
    assert 'unknown' not in figures(KNOWN)


def test_threshold_zero_rejects_nothing():
    got = figures([*KNOWN, *UNKNOWN], threshold=0)
    assert got['unknown'] == 0 and got['top1'] == 80


@pytest.mark.parametrize(
    ('row', 'message'),
    [
        ((0, 0, float('nan')), 'finite scores, but got NaN .* 1 of 2 images'),
        ((4, 0, 0.9), r'`gt_label` to be in \[-1, 4\), but .* has 4'),
        ((-2, 0, 0.9), r'`gt_label` to be in \[-1, 4\), but .* has -2'),
    ],
)
def test_broken_scores_and_labels_are_refused(row, message):
    with pytest.raises(InputError, match=message):
        figures([(-1, 0, 0.9), row])


def test_threshold_is_a_probability():
    with pytest.raises(ValueError, match='threshold'):
        METRICS.build(dict(type='ltmm.OpenSetMetric', threshold=10))
