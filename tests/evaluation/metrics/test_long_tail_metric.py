import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from mmengine.runner import Runner
from mmpretrain.evaluation import Accuracy, SingleLabelMetric
from mmpretrain.structures import DataSample
from toy import toy_config
from toy_metrics import evaluate, evaluate_on_ranks
from toy_processes import run_on_two_ranks

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.evaluation import PerClassReport
from ltmm.utils.errors import InputError

COUNTS = [500, 300, 120, 60, 30, 12, 5]


@pytest.fixture
def log_file(tmp_path):
    """Log file of the current logger, in its own folder."""
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
    """Pad the scores of the predictions to more classes."""
    wider = []
    for sample in samples:
        score = torch.nn.functional.pad(sample.pred_score, (0, num_classes - len(sample.pred_score)))
        wider.append(DataSample(metainfo=sample.metainfo | dict(num_classes=num_classes)))
        wider[-1].set_gt_label(sample.gt_label).set_pred_score(score)
    return wider


def test_agrees_with_mmpretrain():
    samples = samples_of()
    figures = evaluate(build(topk=(1, 3)), samples)
    theirs = evaluate(Accuracy(topk=(1, 3)), samples) | evaluate(SingleLabelMetric(), samples)
    for ours, name in (
        ('top1', 'top1'),
        ('top3', 'top3'),
        ('balanced_accuracy', 'recall'),
        ('macro_precision', 'precision'),
        ('macro_f1', 'f1-score'),
    ):
        assert figures[ours] == pytest.approx(theirs[name], rel=1e-5)


def test_figures_equal_a_loop():
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
        assert figures[name] == pytest.approx(value), name


def test_top1_comes_first_for_save_best_auto():
    assert next(iter(evaluate(build(), samples_of()))) == 'top1'


def test_group_without_a_class_is_left_out():
    figures = evaluate(build(class_counts=[500] * 7), samples_of())
    assert not {'medium', 'few'} & set(figures) and figures['many'] > 0
    assert not any(map(math.isnan, figures.values()))


def test_groups_of_class_indices():
    samples = [sample for sample in samples_of() if sample.gt_label != 6]
    metric = build(groups=dict(head=[0, 2], tail=[2, 4, 6], unseen=[6]))
    figures = evaluate(metric, samples)
    label = torch.cat([sample.gt_label for sample in samples])
    is_hit = torch.stack([sample.pred_score.argmax() for sample in samples]) == label
    recall = {i: 100 * is_hit[label == i].double().mean().item() for i in (0, 2, 4)}
    assert figures['head'] == pytest.approx((recall[0] + recall[2]) / 2)
    assert figures['tail'] == pytest.approx((recall[2] + recall[4]) / 2)
    assert 'unseen' not in figures
    with pytest.raises(InputError, match="`groups` of 7 classes, but 'head' has 7"):
        evaluate(build(groups=dict(head=[7])), samples)


def test_topk_up_to_the_number_of_classes():
    samples = [DataSample().set_gt_label(c).set_pred_score(torch.eye(3)[c]) for c in range(3)]
    figures = evaluate(build(class_counts=[9, 5, 2]), samples)
    assert figures['top1'] == 100 and 'top5' not in figures


def test_convention_changes_the_groups_only():
    by_rank = evaluate(build(convention='mislas', num_many=1, num_few=1), samples_of())
    by_count = evaluate(build(), samples_of())
    assert by_rank['many'] != by_count['many']
    assert by_rank['top5'] == by_count['top5']


def test_class_without_test_images_is_ignored(log_file):
    wider = evaluate(build(class_counts=[*COUNTS, 7, 8]), with_scores_of(samples_of(), 9))
    assert '2 of 9 classes without test images, not counted: 7, 8.' in log_file.read_text()
    assert wider == evaluate(build(), samples_of())


def test_checkpoint_of_several_labels():
    several = ClassDistribution([9] * 7, [9] * 7, num_images=20)
    with pytest.raises(InputError, match='63 labels on 20 images. Use ltmm.MultiLabelMetric'):
        build(class_counts=None).set_class_distribution(several)


def test_log_of_the_groups(log_file):
    figures = evaluate(build(class_counts=[500] * 6 + [5]), samples_of())
    line = f'many {figures["many"]:.2f} (6 classes), medium - (0 classes), few {figures["few"]:.2f}'
    assert f'Mean recall by training images (decoupling): {line} (1 classes).' in log_file.read_text()
    evaluate(build(thresholds=(50, 9)), samples_of())
    assert '(decoupling, (50, 9)): many' in log_file.read_text()


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_scores(dtype):
    samples = samples_of()
    for sample in samples:
        sample.pred_score = sample.pred_score.to(dtype)
    accuracy = np.mean([sample.pred_score.argmax().item() == sample.gt_label.item() for sample in samples])
    assert evaluate(build(), samples)['top1'] == pytest.approx(100 * accuracy)


def test_labels_without_scores():
    samples = [DataSample().set_gt_label(s.gt_label).set_pred_label(s.pred_score.argmax()) for s in samples_of()]
    figures = evaluate(build(topk=1), samples)
    expected = evaluate(build(topk=1), samples_of())
    assert figures == expected
    with pytest.raises(ValueError, match=r'topk=\(1, 5\), but got `pred_label`'):
        evaluate(build(), samples)


def test_three_numbers_per_image_are_kept():
    metric = build()
    metric.process(None, [sample.to_dict() for sample in samples_of()])
    assert len(metric.results) == 101
    assert all(len(result) == 3 and all(type(value) is int for value in result) for result in metric.results)


# ---------------------------------------------------------------------- class distribution


def test_missing_class_distribution():
    with pytest.raises(RuntimeError, match='LongTailMetric needs .*ClassDistributionHook'):
        evaluate(build(class_counts=None), samples_of())


def test_explicit_counts_stay():
    metric, pinned = build(class_counts=None), build()
    metric.set_class_distribution(ClassDistribution(COUNTS))
    pinned.set_class_distribution(ClassDistribution([9] * 7))
    assert evaluate(metric, samples_of()) == evaluate(pinned, samples_of())


@pytest.mark.parametrize('in_file', [False, True])
def test_counts_by_name(tmp_path, in_file):
    names = list('abcdefg')
    shuffled = {name: COUNTS[names.index(name)] for name in 'gfaedbc'}
    path = tmp_path / 'counts.json'
    path.write_text(json.dumps(shuffled))
    metric = build(class_counts=str(path) if in_file else shuffled)
    assert metric.distribution is None  # their order is not that of the labels
    metric.dataset_meta = dict(classes=names)
    assert metric.distribution.instance_counts.tolist() == COUNTS
    with pytest.raises(ClassDistributionError, match="'g' is unknown"):
        metric.dataset_meta = dict(classes=list('abcdefx'))


def test_other_number_of_classes():
    metric = build()
    with pytest.raises(ClassDistributionError, match='`class_counts` to have 8 entries, but got 7'):
        metric.dataset_meta = dict(classes=list('abcdefgh'))
    with pytest.raises(ClassDistributionError, match='`class_counts` to have 6 entries.* but got 7'):
        metric.set_class_distribution(ClassDistribution(COUNTS[:6]))


def test_other_order_of_classes():
    metric = build(class_counts=None)
    metric.dataset_meta = dict(classes=('b', 'a', 'c', 'd', 'e'))
    with pytest.raises(ClassDistributionError, match="class 0 is 'a' in training and 'b' in the test set"):
        metric.set_class_distribution(ClassDistribution([9] * 5, class_names='abcde'))


def test_other_classes_of_the_same_number():
    metric = build(class_counts=None, topk=1)
    metric.set_class_distribution(ClassDistribution([9] * 3, class_names=('bus', 'car', 'cat')))
    with pytest.raises(ClassDistributionError, match="class 1 is 'car' in training and 'cat' in the test set"):
        metric.dataset_meta = dict(classes=('bus', 'cat', 'dog'))


# ---------------------------------------------------------------------- invalid input


@pytest.mark.parametrize(
    'kwargs, message',
    [
        (dict(topk=0), '`topk` to be int >= 1'),
        (dict(recall_floor=0), r'`recall_floor` to be in \(0, 1\)'),
        (dict(recall_floor=1), '`recall_floor`'),
        (dict(num_many=1), "belong to convention='mislas'"),
        (dict(groups=dict(head=[-1])), r"`groups\['head'\]` to be int >= 0"),
        (dict(groups=dict(head=[])), r"`groups\['head'\]`"),
        (dict(groups=dict(few=[1])), "another name in `groups` than 'few'"),
    ],
)
def test_invalid_argument(kwargs, message):
    with pytest.raises(ValueError, match=message):
        build(**kwargs)


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
        (broken(gt_label=torch.tensor([1, 2])), 'one `gt_label` per image, but sample 5 has 2 labels'),
        (
            broken(pred_score=torch.full((7,), float('nan'))),
            '1 of 16 images in the batch: sample 5',
        ),
        (with_scores_of(samples_of(), 8), r'`pred_score` of the 7 training classes, but got shape \(8,\)'),
        ([DataSample().set_pred_score(torch.rand(7))], 'one `gt_label` per image, but sample ? has the keys'),
    ],
)
def test_invalid_batch(samples, message):
    with pytest.raises(ValueError, match=message.replace('?', r'\?')):
        evaluate(build(), samples)


def test_empty_test_set():
    with pytest.raises(ValueError, match='the test set is empty'):
        build().evaluate(0)


# ---------------------------------------------------------------------- per-class CSV


def test_csv_is_written_to_the_log_folder(log_file):
    metric = build(csv_name='figures.csv')
    for seed in (1, 2):
        figures = evaluate(metric, samples_of(seed=seed))
        read = PerClassReport.read(log_file.parent / 'figures.csv').figures()
        assert read['top1'] == pytest.approx(figures['top1'], abs=1e-3)
    evaluate(build(csv_name=None), samples_of())
    assert sorted(os.listdir(log_file.parent)) == ['figures.csv', 'run.log']


def test_unwritable_csv_is_a_warning(log_file):
    taken = log_file.parent / 'taken.csv'
    taken.mkdir()
    evaluate(build(csv_name='taken.csv'), samples_of())
    assert f'Cannot write {taken}' in log_file.read_text()
    assert sorted(os.listdir(log_file.parent)) == ['run.log', 'taken.csv']


def test_counts_from_training_and_from_the_checkpoint(tmp_path):
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


def test_checkpoint_without_class_distribution(tmp_path):
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
def test_two_processes_equal_one(tmp_path):
    script = Path(__file__).with_name('evaluate_on_ranks.py')
    result = run_on_two_ranks(script, tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count('equal on rank') == 2 * 4


@pytest.mark.parametrize('world_size', [2, 3, 7])
def test_any_number_of_ranks_equals_one(world_size):
    samples = samples_of(50)
    assert evaluate_on_ranks(build, samples, world_size) == evaluate(build(), samples)
