import doctest
import re

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample
from toy import ROOT
from toy_ranks import on_ranks

from ltmm import ClassDistribution
from ltmm.evaluation import LongTailMetric, LongTailScores, long_tail_scores, tensors

COUNTS = [500, 300, 120, 60, 30, 12, 5]


def batch(num, seed=0, classes=len(COUNTS)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, len(COUNTS), generator=generator), torch.randint(classes, (num,), generator=generator)


@pytest.mark.parametrize(
    'options',
    [
        {},
        dict(topk=(1, 3), recall_floor=0.01),
        dict(convention='oltr', thresholds=(120, 12)),
        dict(convention='mislas', num_many=2, num_few=3),
    ],
)
@pytest.mark.parametrize('classes', [len(COUNTS), 3])  # 3: most classes, and the few-shot group, are not tested
def test_figures_are_those_of_long_tail_metric(options, classes):
    scores, labels = batch(200, classes=classes)
    metric = LongTailMetric(class_counts=COUNTS, csv_name=None, **options)
    metric.process(None, [DataSample(pred_score=s, gt_label=y[None]).to_dict() for s, y in zip(scores, labels)])
    expected = metric.evaluate(len(labels))
    got = long_tail_scores(scores, labels, COUNTS, **options)
    assert list(got) == [name.removeprefix('long_tail/') for name in expected]
    assert list(got.values()) == list(expected.values())
    assert all(type(value) is float for value in got.values())


def test_figures_by_hand():
    figures = long_tail_scores(np.array([0, 0, 1, 0, 2]), [0, 0, 1, 1, 0], [200, 50, 3])
    assert figures['top1'] == pytest.approx(60)
    assert (figures['many'], figures['medium']) == (pytest.approx(200 / 3), 50)
    assert 'few' not in figures  # has no test images
    assert 'top5' not in figures  # predicted labels tell top-1 only
    assert figures['balanced_accuracy'] == pytest.approx((200 / 3 + 50) / 2)
    assert figures['macro_precision'] == pytest.approx((200 / 3 + 100) / 2)


@pytest.mark.parametrize('convert', [torch.Tensor.numpy, torch.Tensor.tolist, torch.Tensor.clone])
def test_input_kinds(convert):
    scores, labels = batch(50)
    scores = scores.double()  # as the list
    expected = long_tail_scores(scores, labels, COUNTS)
    got = long_tail_scores(convert(scores), convert(labels), np.array(COUNTS))
    assert got == expected
    assert long_tail_scores(scores, labels.int(), torch.tensor(COUNTS)) == expected
    assert long_tail_scores(scores, labels, ClassDistribution(COUNTS)) == expected


def test_predicted_labels_equal_scores_without_top5():
    scores, labels = batch(50)
    expected = long_tail_scores(scores, labels, COUNTS, topk=1)
    assert long_tail_scores(scores.argmax(1), labels, COUNTS) == expected


def test_counts_by_name_are_put_in_label_order():
    scores, labels = batch(50)
    names = list('abcdefg')
    by_name = dict(reversed([*zip(names, COUNTS)]))
    expected = long_tail_scores(scores, labels, COUNTS)
    assert long_tail_scores(scores, labels, by_name, class_names=names) == expected
    with pytest.raises(ValueError, match='Expected class names in `class_names`'):
        long_tail_scores(scores, labels, by_name)


def test_batches_reset_and_recompute(monkeypatch):
    monkeypatch.setattr('ltmm.evaluation.tensors.CHUNK', 7)
    scores, labels = batch(101)
    expected = long_tail_scores(scores, labels, COUNTS)
    metric = LongTailScores(COUNTS)
    for _ in range(2):
        for part in torch.arange(101).split(16):
            metric.update(scores[part], labels[part])
        metric.update(scores[:0], labels[:0])
        assert metric.compute() == expected == metric.compute()
        metric.reset()
    with pytest.raises(ValueError, match='at least one image'):
        metric.compute()


@pytest.mark.parametrize(
    ('scores', 'labels', 'message'),
    [
        (
            torch.zeros(4, 6),
            torch.zeros(4).long(),
            r'floating-point of shape \(N, 7\).*got torch.float32 of shape \(4, 6',
        ),
        (torch.zeros(4, 7).long(), torch.zeros(4).long(), r'got torch.int64 of shape \(4, 7\)'),
        (torch.zeros(4, 7), torch.zeros(3).long(), r'as many `scores` as `labels`, 3, but got shape \(4, 7\)'),
        (torch.zeros(4, 7), torch.zeros(4), r'`labels` to be class indices \(N,\), but got torch.float32'),
        (torch.zeros(4, 7), torch.tensor([0, 1, 7, 2]), r'`labels` in \[0, 7\).*from 0 to 7'),
        (torch.zeros(4, 7), torch.tensor([0, 1, -1, 2]), 'from -1 to 2'),
        (torch.tensor([0, 7]), torch.tensor([0, 1]), r'`scores` in \[0, 7\)'),
        (torch.zeros(2), torch.tensor([0, 1]), r'or floating-point scores \(N, C\)'),
        (torch.zeros(()), torch.zeros(0).long(), 'as many `scores`'),
        (torch.full((2, 7), torch.nan), torch.tensor([0, 1]), '2 of 2 images have NaN'),
        (torch.zeros(0, 7), torch.zeros(0).long(), 'at least one image'),
    ],
)
def test_invalid_input(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        long_tail_scores(scores, labels, COUNTS)


def test_scores_and_predicted_labels_do_not_mix():
    metric = LongTailScores(COUNTS)
    metric.update(*batch(5))
    metric.update([1, 2], [1, 2])
    with pytest.raises(ValueError, match='for 5 of 7'):
        metric.compute()


def figures_of_rank(rank):
    metric = LongTailScores(COUNTS)
    results = []
    for num in (101, 1, 101):  # 1: the second rank has no image
        scores, labels = batch(num)
        mine = list(range(rank, num, 2))
        if mine:
            metric.update(scores[mine], labels[mine])
        results.append((metric.compute(), long_tail_scores(scores, labels, COUNTS) if rank else None))
        metric.reset()
    try:
        metric.compute()
    except ValueError as e:
        results.append(str(e))
    return results


def test_two_ranks_equal_one_process(tmp_path):
    expected = [long_tail_scores(*batch(num), COUNTS) for num in (101, 1, 101)]
    for rank, results in enumerate(on_ranks(figures_of_rank, tmp_path)):
        assert [figures for figures, _ in results[:3]] == expected
        assert [alone for _, alone in results[:3]] == (expected if rank else [None] * 3)  # the function talks to nobody
        assert 'at least one image' in results[3]


def test_doctests():
    assert doctest.testmod(tensors, extraglobs=dict(torch=torch)) == (0, 5)


def test_snippets_of_the_docs(capsys):
    snippets = re.findall(r'```python\n(.+?)```', (ROOT / 'docs/concepts/metrics.md').read_text(), re.S)
    for code in snippets:
        exec(code, {})
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("{'top1'") and "'few'" in first
    assert f'  # {last}' in snippets[-1]  # what the page says it prints
