import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from mmengine.runner import Runner
from mmpretrain.evaluation import Accuracy, SingleLabelMetric
from mmpretrain.structures import DataSample
from toy import run_tool, toy_config

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.evaluation import PerClassReport

COUNTS = [500, 300, 120, 60, 30, 12, 5]


@pytest.fixture
def log_file(tmp_path):
    """The log of the current logger, in a folder of its own."""
    MMLogger.get_instance(str(tmp_path), log_file=str(tmp_path / 'run.log'))
    return tmp_path / 'run.log'


def build(**kwargs):
    return METRICS.build(dict(type='ltmm.LongTailMetric', **{'class_counts': COUNTS, **kwargs}))


def samples_of(num=101, num_classes=len(COUNTS), seed=0):
    generator = torch.Generator().manual_seed(seed)
    label = torch.cat(
        [torch.arange(num_classes), torch.randint(num_classes, (num - num_classes,), generator=generator)]
    )
    scores = torch.randn(num, num_classes, generator=generator)
    scores[torch.arange(num), label] += 1.5
    return [
        DataSample(metainfo=dict(sample_idx=i)).set_gt_label(y).set_pred_score(score)
        for i, (y, score) in enumerate(zip(label, scores.softmax(1)))
    ]


def with_scores_of(samples, num_classes):
    """The same predictions among more classes."""
    wider = []
    for sample in samples:
        score = torch.nn.functional.pad(sample.pred_score, (0, num_classes - len(sample.pred_score)))
        wider.append(DataSample(metainfo=sample.metainfo | dict(num_classes=num_classes)))
        wider[-1].set_gt_label(sample.gt_label).set_pred_score(score)
    return wider


def evaluate(metric, samples, batch_size=16):
    evaluator = Evaluator(metric)
    for start in range(0, len(samples), batch_size):
        evaluator.process(samples[start : start + batch_size])
    return evaluator.evaluate(len(samples))


def test_agrees_with_mmpretrain():
    samples = samples_of()
    figures = evaluate(build(topk=(1, 3)), samples)
    theirs = evaluate(Accuracy(topk=(1, 3)), samples) | evaluate(SingleLabelMetric(), samples)
    for ours, name in (
        ('top1', 'accuracy/top1'),
        ('top3', 'accuracy/top3'),
        ('balanced_accuracy', 'single-label/recall'),
        ('macro_precision', 'single-label/precision'),
        ('macro_f1', 'single-label/f1-score'),
    ):
        assert figures[f'long_tail/{ours}'] == pytest.approx(theirs[name], rel=1e-5)


def test_every_figure_against_a_loop():
    samples = samples_of()
    figures = evaluate(build(), samples)
    hits = {c: [] for c in range(len(COUNTS))}
    for sample in samples:
        hits[sample.gt_label.item()].append(sample.pred_score.argmax().item() == sample.gt_label.item())
    recall = [100 * sum(values) / len(values) for values in hits.values()]
    expected = dict(
        many=sum(recall[:3]) / 3,
        medium=sum(recall[3:5]) / 2,
        few=sum(recall[5:]) / 2,
        balanced_accuracy=sum(recall) / 7,
        harmonic_mean=7 / sum(1 / r for r in recall),
        geometric_mean=math.prod(recall) ** (1 / 7),
        lowest_recall=min(recall),
    )
    for name, value in expected.items():
        assert figures[f'long_tail/{name}'] == pytest.approx(value), name


def test_top1_comes_first_so_that_save_best_auto_means_it():
    assert next(iter(evaluate(build(), samples_of()))) == 'long_tail/top1'


def test_group_without_a_class_is_minus_one():
    figures = evaluate(build(class_counts=[500] * 7), samples_of())
    assert figures['long_tail/medium'] == figures['long_tail/few'] == -1
    assert not any(map(math.isnan, figures.values()))


def test_convention_changes_the_groups_only():
    by_rank = evaluate(build(convention='mislas', num_many=1, num_few=1), samples_of())
    by_count = evaluate(build(), samples_of())
    assert by_rank['long_tail/many'] != by_count['long_tail/many']
    assert by_rank['long_tail/top5'] == by_count['long_tail/top5']
    with pytest.raises(ValueError, match="belong to convention='mislas'"):
        build(num_many=1)


def test_class_without_test_image_is_left_out_and_the_log_says_so(log_file):
    wider = evaluate(build(class_counts=[*COUNTS, 7, 8]), with_scores_of(samples_of(), 9))
    assert '2 classes without a test image are left out of all means' in log_file.read_text()
    assert wider == evaluate(build(), samples_of())


def test_log_has_a_line_of_groups_with_their_sizes(log_file):
    figures = evaluate(build(class_counts=[500] * 6 + [5]), samples_of())
    line = f'many {figures["long_tail/many"]:.2f} (6 classes), medium - (0 classes), few {figures["long_tail/few"]:.2f}'
    assert f'Mean recall by training images (decoupling): {line} (1 classes).' in log_file.read_text()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_scores(dtype):
    samples = samples_of()
    for sample in samples:
        sample.pred_score = sample.pred_score.to(dtype)
    accuracy = np.mean([sample.pred_score.argmax().item() == sample.gt_label.item() for sample in samples])
    assert evaluate(build(), samples)['long_tail/top1'] == pytest.approx(100 * accuracy)


def test_labels_without_scores_are_enough_for_top1():
    samples = [DataSample().set_gt_label(s.gt_label).set_pred_label(s.pred_score.argmax()) for s in samples_of()]
    figures = evaluate(build(topk=1), samples)
    expected = evaluate(build(topk=1), samples_of())
    assert figures == expected
    with pytest.raises(ValueError, match=r'topk=\(1, 5\), but they have only `pred_label`. Set topk=\(1,\)'):
        evaluate(build(), samples)


def test_keeps_three_numbers_an_image_and_not_its_scores():
    metric = build()
    metric.process(None, [sample.to_dict() for sample in samples_of()])
    assert len(metric.results) == 101
    assert all(len(result) == 3 and all(type(value) is int for value in result) for result in metric.results)


# ---------------------------------------------------------------------- where the distribution comes from


def test_without_distribution_says_both_ways_to_give_it():
    message = r'LongTailMetric needs .*ltmm.ClassDistributionHook.* give LongTailMetric\(class_counts=\[...\]\)'
    with pytest.raises(RuntimeError, match=message):
        evaluate(build(class_counts=None), samples_of())


def test_given_distribution_equals_explicit_counts_and_explicit_counts_stay():
    metric, pinned = build(class_counts=None), build()
    metric.set_class_distribution(ClassDistribution(COUNTS))
    pinned.set_class_distribution(ClassDistribution([9] * 7))
    assert evaluate(metric, samples_of()) == evaluate(pinned, samples_of())


def test_counts_by_name_take_the_order_of_the_test_set():
    names = list('abcdefg')
    shuffled = {name: COUNTS[names.index(name)] for name in 'gfaedbc'}
    metric = build(class_counts=shuffled)
    metric.dataset_meta = dict(classes=names)
    assert metric.distribution.instance_counts.tolist() == COUNTS
    with pytest.raises(ClassDistributionError, match="name classes of the dataset, but got 'g'"):
        metric.dataset_meta = dict(classes=list('abcdefx'))


def test_another_number_of_classes_is_refused_before_the_first_batch():
    metric = build()
    with pytest.raises(ClassDistributionError, match='counts of the 8 classes of the test set.* has 7 classes'):
        metric.dataset_meta = dict(classes=list('abcdefgh'))
    with pytest.raises(ClassDistributionError, match='`class_counts` to have 6 entries.* but got 7'):
        metric.set_class_distribution(ClassDistribution(COUNTS[:6]))


def test_another_order_of_classes_is_refused():
    metric = build(class_counts=None)
    metric.dataset_meta = dict(classes=('b', 'a', 'c', 'd', 'e'))
    with pytest.raises(ClassDistributionError, match="class 0 is 'a' in training and 'b' in the test set"):
        metric.set_class_distribution(ClassDistribution([9] * 5, class_names='abcde'))


# ---------------------------------------------------------------------- bad input


def test_topk_beyond_the_classes_is_refused():
    with pytest.raises(ValueError, match=r'number of classes, 3, but got \(1, 5\). Set topk=\(1,\)'):
        build(class_counts=[9, 5, 2])
    with pytest.raises(ValueError, match='`topk` to be positive'):
        build(topk=0)


@pytest.mark.parametrize('floor', [0, 1])
def test_recall_floor_is_a_share(floor):
    with pytest.raises(ValueError, match=r'`recall_floor` to be in \(0, 1\)'):
        build(recall_floor=floor)


def broken(**fields):
    samples = samples_of()
    for name, value in fields.items():
        samples[5].set_field(value, name)
    return samples


@pytest.mark.parametrize(
    ('samples', 'message'),
    [
        (broken(gt_label=torch.tensor([7])), r'`gt_label` to be in \[0, 7\), but sample 5 has 7'),
        (broken(gt_label=torch.tensor([-1])), r'`gt_label` to be in \[0, 7\), but sample 5 has -1'),
        (broken(gt_label=torch.tensor([1, 2])), 'one `gt_label` an image, but sample 5 has 2 labels'),
        (broken(pred_score=torch.full((7,), float('nan'))), 'those of 1 of 16 images in the batch are NaN: sample 5'),
        (with_scores_of(samples_of(), 8), r'`pred_score` of 7 classes, as in the training data, but got shape \(8,\)'),
        ([DataSample().set_pred_score(torch.rand(7))], 'one `gt_label` an image, but sample ? has the keys'),
    ],
)
def test_bad_batch_names_the_sample(samples, message):
    with pytest.raises(ValueError, match=message.replace('?', r'\?')):
        evaluate(build(), samples)


def test_empty_test_set_is_refused():
    with pytest.raises(ValueError, match='the test set is empty'):
        build().evaluate(0)


# ---------------------------------------------------------------------- per-class CSV


def test_csv_stands_beside_the_log_and_is_replaced_by_the_next_evaluation(log_file):
    metric = build(csv_name='figures.csv')
    for seed in (1, 2):
        figures = evaluate(metric, samples_of(seed=seed))
        read = PerClassReport.read(log_file.parent / 'figures.csv').figures()
        assert read['top1'] == pytest.approx(figures['long_tail/top1'], abs=1e-3)
    evaluate(build(csv_name=None), samples_of())
    assert sorted(os.listdir(log_file.parent)) == ['figures.csv', 'run.log']


def test_unwritable_csv_is_a_warning_that_names_the_file(log_file):
    taken = log_file.parent / 'taken.csv'
    taken.mkdir()
    evaluate(build(csv_name='taken.csv'), samples_of())
    assert f'Cannot write the figures of each class to {taken}' in log_file.read_text()
    assert sorted(os.listdir(log_file.parent)) == ['run.log', 'taken.csv']


def test_training_hands_over_the_counts_and_a_test_takes_them_from_the_checkpoint(tmp_path):
    evaluator = dict(type='ltmm.LongTailMetric', topk=(1,), convention='decoupling', thresholds=(30, 10))
    settings = dict(val_evaluator=evaluator, test_evaluator=evaluator, train_cfg=dict(max_epochs=1))
    train = Runner.from_cfg(toy_config(tmp_path / 'train', **settings))
    train.train()
    metric = train.val_loop.evaluator.metrics[0]
    assert metric.distribution.instance_counts.tolist() == [40, 16, 8]
    csv = PerClassReport.read(next((tmp_path / 'train').glob('*/per_class.csv')))
    assert csv.shots.names() == ['many', 'medium', 'few']
    assert csv.names == ('class 0', 'class 1', 'class 2')

    cfg = toy_config(tmp_path / 'test', load_from=str(tmp_path / 'train/epoch_1.pth'), **settings)
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg.pop(key)
    figures = Runner.from_cfg(cfg).test()
    tested = PerClassReport.read(next((tmp_path / 'test').glob('*/per_class.csv')))
    np.testing.assert_array_equal(tested.train_images, [40, 16, 8])
    for name, value in tested.figures().items():
        assert figures[f'long_tail/{name}'] == pytest.approx(value, abs=1e-3)


def test_checkpoint_without_a_distribution_needs_explicit_counts(tmp_path):
    settings = dict(test_evaluator=dict(type='ltmm.LongTailMetric', topk=1))
    cfg = toy_config(tmp_path, **settings)
    cfg.model.head.loss = dict(type='CrossEntropyLoss')
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg.pop(key)
    runner = Runner.from_cfg(cfg)
    with pytest.raises(RuntimeError, match='LongTailMetric needs the class distribution'):
        runner.test()
    runner.test_loop.evaluator.metrics[0] = build(topk=1, class_counts=[40, 16, 8])
    assert runner.test()['long_tail/top1'] >= 0


# ---------------------------------------------------------------------- several processes


@pytest.mark.slow
def test_two_processes_equal_one_on_an_odd_number_of_images(tmp_path):
    script = Path(__file__).with_name('evaluate_on_ranks.py')
    result = run_tool('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', script, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count('equal on rank') == 2 * 4


def test_interleaved_ranks_of_any_number_equal_one_process(monkeypatch):
    samples = samples_of(50)
    expected = evaluate(build(), samples)
    for world_size in (2, 3, 7):
        padded = [*samples, *samples][: -(-50 // world_size) * world_size]
        metrics = [build() for _ in range(world_size)]
        for rank, metric in enumerate(metrics):
            metric.process(None, [sample.to_dict() for sample in padded[rank::world_size]])
        gathered = [result for row in zip(*(metric.results for metric in metrics)) for result in row]
        assert metrics[0].compute_metrics(gathered[:50]) == {
            k.removeprefix('long_tail/'): v for k, v in expected.items()
        }
