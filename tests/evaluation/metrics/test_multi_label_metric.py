import csv

import numpy as np
import pytest
import torch
import toy_multi_label  # noqa: F401  (registers ToyMultiLabel)
from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from mmpretrain.structures import DataSample
from toy_metrics import evaluate, evaluate_on_ranks

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.datasets import class_distribution_of
from ltmm.evaluation.functional import average_precision
from ltmm.registry import DATASETS

COUNTS = [500, 100, 99, 20, 19, 1]


def build(**kwargs):
    counts = dict(instance_counts=COUNTS, num_images=600)
    return METRICS.build(dict(type='ltmm.MultiLabelMetric', **{'class_counts': counts, 'csv_name': None, **kwargs}))


def arrays(num=101, unknown=0.2):
    rng = np.random.default_rng(0)
    scores = rng.random((num, len(COUNTS)), dtype=np.float32)
    target = rng.choice([-1, 0, 1], p=[unknown, 0.7 - unknown, 0.3], size=scores.shape)
    return scores, target


def samples_of(scores, target):
    pairs = zip(torch.tensor(scores), torch.tensor(target, dtype=torch.float32))
    return [
        DataSample(metainfo=dict(sample_idx=i)).set_pred_score(score).set_gt_score(t)
        for i, (score, t) in enumerate(pairs)
    ]


def test_figures_equal_means_over_the_groups():
    scores, target = arrays()
    ap, figures = 100 * average_precision(scores, target), evaluate(build(), samples_of(scores, target))
    groups = dict(mAP=ap, head=ap[:2], medium=ap[2:4], tail=ap[4:])
    for name, of_group in groups.items():
        assert figures[name] == pytest.approx(of_group.mean(), abs=1e-9), name


def test_thresholds():
    scores, target = arrays()
    ap = 100 * average_precision(scores, target)
    figures = evaluate(build(thresholds=(99, 2)), samples_of(scores, target))
    assert figures['head'] == pytest.approx(ap[:3].mean()) and figures['tail'] == pytest.approx(ap[5])
    figures = evaluate(build(thresholds=dict(rank=(1, 2))), samples_of(scores, target))
    assert figures['head'] == pytest.approx(ap[0]) and figures['tail'] == pytest.approx(ap[4:].mean())


def test_groups_by_the_complete_labels_of_a_dataset():
    complete = dict(type='ltmm.ToyMultiLabel', unlabelled=0.0)
    metric = build(class_counts=complete, thresholds=(40, 10))
    partial = class_distribution_of(DATASETS.build(dict(complete, unlabelled=0.5)))
    metric.set_class_distribution(partial)
    counts = metric.distribution.image_counts
    assert (counts > partial.image_counts).all()
    assert metric.shots.many.tolist() == (counts >= 40).tolist() != (partial.image_counts >= 40).tolist()


def test_f1_ignores_unknown_labels():
    scores, target = arrays()
    predicted, known = scores >= 0.6, target >= 0
    hits = (predicted & (target == 1)).sum(0)
    answers = (predicted & known).sum(0) + (target == 1).sum(0)
    figures = evaluate(build(thr=0.6), samples_of(scores, target))
    assert figures['micro_f1'] == pytest.approx(200 * hits.sum() / answers.sum())
    assert figures['macro_f1'] == pytest.approx(100 * (2 * hits / answers).mean())


def test_classes_without_positives_are_ignored():
    scores, target = arrays()
    target[:, 0], target[:, 4:] = 0, 0
    ap = 100 * average_precision(scores, target)
    figures = evaluate(build(), samples_of(scores, target))
    assert 'tail' not in figures and figures['head'] == pytest.approx(ap[1])
    assert figures['mAP'] == pytest.approx(np.nanmean(ap))


def test_labels_as_indices():
    scores, target = arrays(unknown=0)
    by_index = [
        DataSample(metainfo=dict(num_classes=len(COUNTS)))
        .set_pred_score(torch.tensor(score))
        .set_gt_label(np.flatnonzero(t))
        for score, t in zip(scores, target)
    ]
    assert evaluate(build(), by_index) == evaluate(build(), samples_of(scores, target))


@pytest.mark.parametrize('world_size', [2, 3, 7])
def test_any_number_of_ranks_equals_one(world_size):
    samples = samples_of(*arrays(50))
    assert evaluate_on_ranks(build, samples, world_size) == evaluate(build(), samples)


def test_csv_per_class(tmp_path):
    MMLogger.get_instance(str(tmp_path), log_file=str(tmp_path / 'run.log'))
    scores, target = arrays()
    target[:, 5] = 0
    evaluate(build(csv_name='classes.csv'), samples_of(scores, target))
    rows = list(csv.DictReader((tmp_path / 'classes.csv').open()))
    assert [row['shot'] for row in rows] == ['head', 'head', 'medium', 'medium', 'tail', 'tail']
    ap = 100 * average_precision(scores, target)
    assert [float(row['ap'] or 'nan') for row in rows] == pytest.approx(ap, abs=1e-4, nan_ok=True)
    assert [int(row['test_images']) for row in rows] == (target == 1).sum(0).tolist()


def test_half_precision_scores():
    scores, target = arrays()
    half = torch.tensor(scores).bfloat16()
    samples = samples_of(scores, target)
    for sample, score in zip(samples, half):
        sample.set_pred_score(score)
    expected = 100 * average_precision(half.float().numpy(), target).mean()
    assert evaluate(build(), samples)['mAP'] == pytest.approx(expected)


@pytest.mark.parametrize(
    'score, target, message',
    [
        (np.nan, 1, 'for 1 of 16 images in the batch: sample 20'),
        (np.inf, 1, 'sample 20'),
        (-np.inf, 1, 'sample 20'),
        (0.5, 2, 'sample 20 has 2 for class 3'),
    ],
)
def test_invalid_batch(score, target, message):
    scores, targets = arrays()
    scores[20, 3], targets[20, 3] = score, target
    with pytest.raises(ValueError, match=message):
        evaluate(build(), samples_of(scores, targets))


def test_labels_of_other_classes():
    samples = samples_of(*arrays())
    samples[3].gt_score = torch.zeros(4)
    with pytest.raises(ValueError, match='`gt_score` of the 6 training classes, but sample 3 has shape'):
        evaluate(build(), samples)


def test_missing_or_other_class_distribution():
    with pytest.raises(RuntimeError, match='MultiLabelMetric needs the class distribution'):
        evaluate(build(class_counts=None), samples_of(*arrays()))
    with pytest.raises(ClassDistributionError, match='to have 3 entries'):
        build().set_class_distribution(ClassDistribution([3, 2, 1]))


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(thr=1), '`thr`'),
        (dict(thresholds=(10, 20)), '`thresholds`'),
        (dict(thresholds=100), '`thresholds` .*, but got 100'),
        (dict(thresholds=(100,)), r'`thresholds` .*, but got \(100,\)'),
    ],
)
def test_invalid_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)
