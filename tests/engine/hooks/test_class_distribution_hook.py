import pytest
import torch
import toy_multi_label  # noqa: F401  (registers ToyMultiLabel)
from mmengine.runner import Runner
from toy import COUNTS, toy_config

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.datasets.labels import label_table
from ltmm.registry import MODELS


def trained(tmp_path, **overrides) -> Runner:
    runner = Runner.from_cfg(toy_config(tmp_path, **{'train_cfg.max_epochs': 1, **overrides}))
    runner.train()
    return runner


def test_counts_flow_from_the_data_into_head_loss_and_checkpoint(tmp_path):
    runner = trained(tmp_path)
    expected = ClassDistribution(COUNTS)
    assert runner.model.head.get_class_distribution() == expected
    assert runner.model.head.loss_module.get_class_distribution() == expected
    checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert ClassDistribution.from_state_dict(checkpoint['state_dict']) == expected


def test_class_weights_of_losses_of_ltmm_and_mmpretrain(tmp_path):
    weights = {'auto': ClassDistribution(COUNTS).weights('inverse').tolist(), 'names': [1.0, 2.5, 1.0]}
    for name, class_weight in {'auto': 'auto', 'names': {'class 1': 2.5}}.items():
        for loss in ('CrossEntropyLoss', 'ltmm.LogitAdjustmentLoss'):
            options = {'model.head.loss': dict(type=loss, class_weight=class_weight, _delete_=True)}
            loss_module = trained(tmp_path / name / loss, **options).model.head.loss_module
            is_ours = loss != 'CrossEntropyLoss'
            values = loss_module.class_weighting.values.tolist() if is_ours else loss_module.class_weight
            assert values == pytest.approx(weights[name])
    with pytest.raises(ClassDistributionError, match="LogitAdjustmentLoss: .*'clas 1' is none. Did you mean class 1"):
        options['model.head.loss']['class_weight'] = {'clas 1': 2.0}
        trained(tmp_path / 'wrong', **options)


def test_a_test_takes_the_distribution_from_the_checkpoint_without_a_training_set(tmp_path):
    trained(tmp_path)
    cfg = toy_config(tmp_path, load_from=str(tmp_path / 'epoch_1.pth'), experiment_name='test')
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg.pop(key)
    runner = Runner.from_cfg(cfg)
    runner.test_loop.evaluator.metrics[0].set_class_distribution = lambda got: seen.append(got)
    seen = []
    runner.test()
    assert seen == [ClassDistribution(COUNTS)]


def test_a_model_without_any_consumer_carries_the_distribution_too(tmp_path):
    head = dict(type='LinearClsHead', num_classes=3, in_channels=8, _delete_=True)
    runner = trained(tmp_path, **{'model.head': head})
    assert runner.model.class_distribution.get() == ClassDistribution(COUNTS)
    checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    built_elsewhere = MODELS.build(runner.cfg.model)
    assert checkpoint['state_dict'].keys() == built_elsewhere.state_dict().keys()
    options = {'model.head': head, 'load_from': str(tmp_path / 'epoch_1.pth'), 'experiment_name': 'test'}
    tested = Runner.from_cfg(toy_config(tmp_path, **options))
    tested.test()
    assert tested.model.class_distribution.get() == ClassDistribution(COUNTS)


def test_explicit_counts_by_class_name(tmp_path):
    cfg = toy_config(tmp_path, **{'train_cfg.max_epochs': 1})
    cfg.custom_hooks[0].class_counts = str(tmp_path / 'counts.json')
    (tmp_path / 'counts.json').write_text('{"class 2": 1, "class 0": 3, "class 1": 2}')
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.model.head.get_class_distribution() == ClassDistribution([3, 2, 1])


SLID = dict(classes=('class 0', 'class 2', 'class 3'))  # every metric would compare class 2 with class 1


def test_validation_set_of_other_classes(tmp_path):
    with pytest.raises(ClassDistributionError, match="class 1 is 'class 1' in training and 'class 2' in the val"):
        trained(tmp_path, val_evaluator=dict(type='Accuracy'), **{'val_dataloader.dataset.metainfo': SLID})


def test_test_set_of_other_classes(tmp_path):
    trained(tmp_path / 'trained')
    checkpoint = torch.load(tmp_path / 'trained' / 'epoch_1.pth', weights_only=True)
    counts = [key for key in checkpoint['state_dict'] if 'class_distribution' in key]
    for name in ('counted', 'strange'):  # the second as mmpretrain writes it
        torch.save(checkpoint, tmp_path / f'{name}.pth')
        cfg = toy_config(tmp_path / name, test_evaluator=dict(type='Accuracy'), load_from=str(tmp_path / f'{name}.pth'))
        cfg.model.head = dict(type='LinearClsHead', num_classes=3, in_channels=8, loss=dict(type='CrossEntropyLoss'))
        cfg.test_dataloader.dataset.metainfo = SLID
        for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
            cfg.pop(key)
        with pytest.raises(
            ClassDistributionError, match="class 1 is 'class 1' in training and 'class 2' in the test set"
        ):
            Runner.from_cfg(cfg).test()
        for key in counts:
            checkpoint['state_dict'].pop(key, None)


def test_test_set_of_other_classes_after_a_validation(tmp_path):
    trained(tmp_path / 'trained')
    cfg = toy_config(tmp_path / 'both', load_from=str(tmp_path / 'trained' / 'epoch_1.pth'))
    cfg.test_dataloader.dataset.metainfo = SLID
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg.pop(key)
    runner = Runner.from_cfg(cfg)
    runner.val()
    with pytest.raises(ClassDistributionError, match="'class 1' in training and 'class 2' in the test set"):
        runner.test()


def test_resume_with_other_classes(tmp_path):
    trained(tmp_path)
    other = {'train_dataloader.dataset.metainfo': dict(classes=('class 1', 'class 0', 'class 2'))}
    with pytest.raises(ClassDistributionError, match="class 0 is 'class 1' in training and 'class 0' in the resumed"):
        trained(tmp_path, resume=True, val_cfg=None, val_dataloader=None, val_evaluator=None, **other)


def test_a_head_for_another_number_of_classes_stops_before_the_first_batch(tmp_path):
    with pytest.raises(ClassDistributionError, match=r'3 classes \(class 0, .*model.head.num_classes is 4'):
        trained(tmp_path, **{'model.head.num_classes': 4})


def test_fine_tuning_takes_the_new_data_not_the_checkpoints(tmp_path):
    trained(tmp_path / 'old')
    new = {'train_dataloader.dataset.counts': (8, 8, 16), 'load_from': str(tmp_path / 'old' / 'epoch_1.pth')}
    assert trained(tmp_path / 'new', **new).model.head.get_class_distribution() == ClassDistribution([8, 8, 16])


LINEAR = dict(type='mmpretrain.MultiLabelLinearClsHead', num_classes=3, in_channels=8)
CSRA = dict(type='mmpretrain.CSRAClsHead', num_classes=3, in_channels=8, num_heads=1, lam=0.1)
COMIC = dict(type='ltmm.COMICHead', num_classes=3, in_channels=8)
PARTIAL = dict(type='ltmm.PartialASLLoss', mode='ignore')
K_POSITIVE = dict(type='ltmm.KPositiveCELoss')


def multi_label(tmp_path, head, unlabelled=0.2, **dataset) -> Runner:
    """The runner of a training whose labels are partly unknown, about to start."""
    cfg = toy_config(tmp_path)
    cfg.model.head = head
    inner = dict(type='ltmm.ToyMultiLabel', unlabelled=unlabelled, pipeline=cfg.train_dataloader.dataset.pipeline)
    cfg.train_dataloader.dataset = dict(dataset, dataset=inner) if dataset else inner
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    runner = Runner.from_cfg(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)  # as train() does before its hooks
    return runner


@pytest.mark.parametrize(
    'head, loss',
    [
        (LINEAR, 'CrossEntropyLoss'),
        (dict(type='mmpretrain.MultiLabelClsHead'), 'CrossEntropyLoss'),
        (dict(CSRA, loss=dict(type='mmpretrain.AsymmetricLoss')), 'AsymmetricLoss'),
        (dict(LINEAR, loss=K_POSITIVE), 'KPositiveCELoss'),
        (dict(COMIC, loss=dict(type='mmpretrain.AsymmetricLoss'), balancer=None), 'AsymmetricLoss'),
        (dict(COMIC, corrector=K_POSITIVE, balancer=None), 'KPositiveCELoss'),
        (dict(COMIC, balancer=dict(type='ltmm.HeadTailBalancerLoss', loss=K_POSITIVE)), 'KPositiveCELoss'),
    ],
)
def test_unknown_labels_are_kept_from_losses_that_would_learn_the_number(tmp_path, head, loss):
    runner = multi_label(tmp_path, head)
    message = (
        rf'^{loss} of head does not support unknown labels, but \d\d of 64 training images have some .*'
        r"unknown_as='negative' in ltmm.PartialLabels"
    )
    with pytest.raises(ValueError, match=message):
        runner.call_hook('before_run')


@pytest.mark.parametrize(
    'head, dataset',
    [
        (dict(LINEAR, loss=PARTIAL), dict()),
        (COMIC, dict()),
        (LINEAR, dict(unlabelled=0)),
        (LINEAR, dict(unlabelled=0, type='ltmm.PartialLabels', missing_rate=0.5)),
    ],
)
def test_losses_that_know_unknown_labels_and_data_that_have_none_go_together(tmp_path, head, dataset):
    runner = multi_label(tmp_path, head, **dataset)
    runner.call_hook('before_run')
    assert ClassDistribution.from_state_dict(runner.model.state_dict()).num_images == 64


def test_unknown_labels_are_found_through_wrappers_and_without_another_look_at_the_data(tmp_path, monkeypatch):
    missing = dict(type='ltmm.PartialLabels', missing_rate=0.5, unknown_as='unknown')
    runner = multi_label(tmp_path / 'missing', LINEAR, unlabelled=0, **missing)
    with pytest.raises(ValueError, match='CrossEntropyLoss of head does not support unknown labels'):
        runner.call_hook('before_run')
    runner = multi_label(tmp_path / 'repeated', LINEAR, type='RepeatDataset', times=2)
    read, seen = label_table._labels_of, []
    monkeypatch.setattr(label_table, '_labels_of', lambda record: seen.append(record) or read(record))
    with pytest.raises(ValueError, match='of 64 training images'):
        runner.call_hook('before_run')
    assert len(seen) == 64


def test_unknown_labels_are_found_where_the_counts_are_given_and_labels_of_no_table_pass(tmp_path, monkeypatch):
    runner = multi_label(tmp_path, LINEAR)
    next(hook for hook in runner.hooks if hasattr(hook, 'class_counts')).class_counts = [30, 20, 10]
    with pytest.raises(ValueError, match='does not support unknown labels'):
        runner.call_hook('before_run')
    soft = [dict(gt_score=[0.9, 0.1, 0])]
    monkeypatch.setattr(label_table, '_TABLES', {})
    monkeypatch.setattr(label_table, 'iterate_records', lambda dataset: iter(soft))
    runner.call_hook('before_run')
    assert runner.model.class_distribution.get() == ClassDistribution([30, 20, 10])
