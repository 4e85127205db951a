import os

import numpy as np
import pytest
import torch
from mmengine.evaluator import metric as mmengine_metric
from mmengine.logging import MMLogger
from mmengine.registry import METRICS
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from toy import toy_config
from toy_metrics import evaluate

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.evaluation import functional as F
from ltmm.evaluation.metrics import calibration_metric

COUNTS = [500, 300, 120, 60, 30, 12, 5]


def build(**kwargs):
    return METRICS.build(dict(type='ltmm.CalibrationMetric', **kwargs))


def arrays(num=101, num_classes=len(COUNTS), dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    score = (3 * torch.randn(num, num_classes, generator=generator)).to(dtype).softmax(1)
    return score, torch.randint(num_classes, (num,), generator=generator)


def samples_of(score, label):
    return [
        DataSample(metainfo=dict(sample_idx=i)).set_gt_label(y).set_pred_score(p)
        for i, (p, y) in enumerate(zip(score, label))
    ]


def test_figures_do_not_depend_on_the_batch_size():
    score, label = arrays()
    probability = score.numpy().astype(np.float64)
    confidence, hit = probability.max(1), probability.argmax(1) == label.numpy()
    bins = F.calibration_bins(confidence, hit, 10)
    small = np.where(score.numpy() < 0.05, 0, score.numpy())
    expected = dict(
        ece=100 * F.expected_calibration_error(bins),
        mce=100 * F.maximum_calibration_error(bins),
        oe=100 * F.overconfidence_error(bins),
        sce=100 * F.expected_calibration_error(F.class_wise_calibration_bins(probability, label, 10)),
        adaptive_ece=100 * F.expected_calibration_error(F.adaptive_calibration_bins(confidence, hit, 10)),
        ace=100 * F.expected_calibration_error(F.class_wise_adaptive_calibration_bins(score.numpy(), label, 10)),
        tace=100 * F.expected_calibration_error(F.class_wise_adaptive_calibration_bins(small, label, 10)),
        nll=torch.nn.functional.nll_loss(score.double().log(), label).item(),
        brier=((score.double() - torch.eye(7)[label]) ** 2).sum(1).mean().item(),
    )
    for name, group in (('many', label < 3), ('medium', (label >= 3) & (label < 5)), ('few', label >= 5)):
        part = F.calibration_bins(confidence[group], hit[group], 10)
        expected[f'ece_{name}'] = 100 * F.expected_calibration_error(part)
    metric = build(num_bins=10, ace=True, tace_threshold=0.05, class_counts=COUNTS)
    for batch_size in (16, 1, 101):
        figures = evaluate(metric, samples_of(score, label), batch_size)
        assert figures == pytest.approx(expected)


def test_shot_groups_need_a_class_distribution():
    samples = samples_of(*arrays())
    alone, informed = build(), build()
    informed.set_class_distribution(ClassDistribution([500] * 6 + [5]))
    figures = evaluate(informed, samples)
    groups = {name: figures.pop(f'ece_{name}') for name in ('many', 'few')}
    assert evaluate(alone, samples) == figures  # without ece_medium
    assert groups['few'] > 0


def test_scores_are_kept_for_ace_only():
    samples = [sample.to_dict() for sample in samples_of(*arrays())]
    metric, keeper = build(), build(ace=True)
    metric.process(None, samples)
    keeper.process(None, samples)
    assert all([type(value) for value in result] == [int, int, float, float, float] for result in metric.results)
    assert [result[5].dtype for result in keeper.results] == [np.float32] * 101


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_scores(dtype):
    score, label = arrays()
    coarse = evaluate(build(), samples_of(score.to(dtype), label))
    fine = evaluate(build(), samples_of(score, label))
    for name in ('nll', 'brier', 'sce'):
        assert coarse[name] == pytest.approx(fine[name], rel=0.02)


def test_extreme_logits_give_finite_figures():
    score = torch.tensor([[1e4, -1e4, 0], [-1e4, 1e4, 0], [0, 0, 1e4]]).softmax(1)
    figures = evaluate(build(), samples_of(score, torch.tensor([0, 1, 0])))
    assert figures['ece'] == pytest.approx(100 / 3)
    assert figures['nll'] == pytest.approx(46.0517 / 3, rel=1e-4)
    assert figures['brier'] == pytest.approx(2 / 3)


def test_one_class_is_perfectly_calibrated():
    figures = evaluate(build(ace=True), samples_of(torch.ones(5, 1), torch.zeros(5, dtype=torch.long)))
    assert set(figures.values()) == {0}


def test_rounding_above_one_is_clipped():
    figures = evaluate(build(), samples_of(torch.tensor([[1 + 1e-6, 0.0]]), torch.tensor([0])))
    assert figures['ece'] == 0


# ---------------------------------------------------------------------- invalid input


def broken(score=None, label=None):
    good_score, good_label = arrays()
    if score is not None:
        good_score[5] = score
    if label is not None:
        good_label[5] = label
    return samples_of(good_score, good_label)


@pytest.mark.parametrize(
    'kwargs, samples, message',
    [
        ({}, broken(score=float('nan')), '1 of 16 images in the batch: sample 5'),
        ({}, broken(score=2.0), 'sum to 1 over the classes, but got sums from 1 to 14'),
        ({}, broken(score=torch.tensor([1.5, -0.5, 0, 0, 0, 0, 0])), 'a minimum of -0.5.* logits'),
        ({}, broken(score=torch.full((7,), 0.1)), r"one sigmoid per class \(activation='sigmoid'\)\?"),
        (dict(activation='sigmoid'), broken(score=3.0), r'sigmoids in \[0, 1\], but got values .* to 3'),
        ({}, broken(label=7), r'`gt_label` to be in \[0, 7\), but sample 5 has 7'),
        ({}, [DataSample().set_gt_label(1)], 'Expected `pred_score` per image, but sample . has'),
        ({}, [DataSample().set_pred_score(torch.ones(7) / 7)], 'CalibrationMetric is for single.* one `gt_label`'),
        ({}, samples_of(*arrays(num_classes=9)), r'`pred_score` of the 7 training classes, but got shape \(9,\)'),
    ],
)
def test_invalid_batch(kwargs, samples, message):
    with pytest.raises(ValueError, match=message):
        evaluate(build(class_counts=COUNTS, **kwargs), samples)


@pytest.mark.parametrize('kwargs', [dict(num_bins=0), dict(tace_threshold=0), dict(activation='relu')])
def test_invalid_argument(kwargs):
    with pytest.raises(ValueError, match=f'Expected `{next(iter(kwargs))}`'):
        build(**kwargs)


def test_other_number_of_training_classes():
    with pytest.raises(ClassDistributionError, match='CalibrationMetric: expected `class_counts` to have 2 entries'):
        build(class_counts=COUNTS).set_class_distribution(ClassDistribution([3, 2]))


def test_empty_test_set():
    with pytest.raises(ValueError, match='the test set is empty'):
        build().evaluate(0)


# ---------------------------------------------------------------------- several processes


@pytest.mark.parametrize('world_size', [2, 3, 7])
@pytest.mark.parametrize('round_up', [True, False])
def test_any_number_of_ranks_equals_one(monkeypatch, world_size, round_up):
    samples = samples_of(*arrays(50))
    cfg = dict(class_counts=COUNTS, ace=True)
    expected = evaluate(build(**cfg), samples)
    padded = [*samples, *samples][: -(-50 // world_size) * world_size] if round_up else samples
    metrics = [build(**cfg) for _ in range(world_size)]
    for rank, metric in enumerate(metrics):
        mine = padded[rank::world_size]
        for start in range(0, len(mine), 4):
            metric.process(None, [sample.to_dict() for sample in mine[start : start + 4]])
    gathered = [result for i in range(50) for result in metrics[i % world_size].results[i // world_size :][:1]]

    monkeypatch.setattr(mmengine_metric, 'collect_results', lambda *_, **__: gathered)
    parts = []
    monkeypatch.setattr(calibration_metric, 'all_gather_object', lambda bins: parts.append(bins) or parts)
    for rank, metric in enumerate(metrics):
        monkeypatch.setattr(calibration_metric, 'get_dist_info', lambda rank=rank: (rank, world_size))
        figures = metric.evaluate(50)  # the last rank sees all parts
    assert figures == pytest.approx({f'calibration/{name}': value for name, value in expected.items()}, rel=1e-12)


def test_more_images_than_default_sampler_gives():
    metric = build()
    metric.process(None, [sample.to_dict() for sample in samples_of(*arrays(20))])
    with pytest.raises(ValueError, match='18 of 18 images on rank 0 .* got 20. Use DefaultSampler'):
        metric.evaluate(18)


# ---------------------------------------------------------------------- bins in a file


def test_bins_are_written_to_the_log_folder(tmp_path):
    MMLogger.get_instance(str(tmp_path), log_file=str(tmp_path / 'run.log'))
    metric, samples = build(csv_name='bins.csv', num_bins=10), samples_of(*arrays())
    evaluate(build(csv_name=None), samples)
    assert os.listdir(tmp_path) == ['run.log']
    evaluate(metric, samples)
    read = F.CalibrationBins.read(tmp_path / 'bins.csv')
    for name in ('count', 'hits', 'confidence_sum', 'num_samples'):
        np.testing.assert_array_equal(getattr(read, name), getattr(metric.bins, name))
    with pytest.raises(ValueError, match='run.log to be a CSV of CalibrationMetric'):
        F.CalibrationBins.read(tmp_path / 'run.log')


def test_training_and_test_of_its_checkpoint_agree(tmp_path):
    evaluator = dict(type='ltmm.CalibrationMetric', thresholds=(30, 10))
    settings = dict(val_evaluator=evaluator, test_evaluator=evaluator, train_cfg=dict(max_epochs=1))
    train = Runner.from_cfg(toy_config(tmp_path / 'train', **settings))
    train.train()
    trained = {name: train.message_hub.get_scalar(f'val/{name}').current() for name in ('calibration/ece_few',)}
    assert len(list((tmp_path / 'train').glob('*/calibration_bins.csv'))) == 1

    cfg = toy_config(tmp_path / 'test', load_from=str(tmp_path / 'train/epoch_1.pth'), **settings)
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg.pop(key)
    figures = Runner.from_cfg(cfg).test()
    assert figures['calibration/ece_few'] == pytest.approx(trained['calibration/ece_few'])


# ---------------------------------------------------------------------- sigmoids


def test_sigmoids_are_binary_probabilities():
    logits, label = 3 * torch.randn(40, 7, generator=torch.Generator().manual_seed(3)) - 2, torch.arange(40) % 7
    score = logits.double().sigmoid()
    metrics = evaluate(build(activation='sigmoid', class_counts=COUNTS), samples_of(score, label))
    onehot = torch.nn.functional.one_hot(label, 7).double()
    bce = torch.nn.functional.binary_cross_entropy(score, onehot, reduction='none').sum(1).mean()
    confidence, pred = score.max(1)
    bins = F.calibration_bins(confidence.numpy(), (pred == label).numpy(), 15)
    assert metrics['nll'] == pytest.approx(bce.item())
    assert metrics['brier'] == pytest.approx((score - onehot).square().sum(1).mean().item())
    assert metrics['ece'] == pytest.approx(100 * F.expected_calibration_error(bins))
