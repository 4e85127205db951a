"""RCAL in a training: features of the start, mixed and unmixed images; resume, AMP, two ranks, the stages."""

from functools import partial

import pytest
import torch
from mmengine.runner import Runner
from toy import toy_config
from toy_training import stop_and_resume, train_on_two_ranks

IMPORTS = dict(imports=['toy', 'ltmm.models.batch_augments'], allow_failed_imports=False)


def rcal_config(work_dir, **overrides):
    cfg = toy_config(work_dir, custom_imports=IMPORTS, **overrides)
    channels = cfg.model.head.in_channels
    rcal = dict(type='ltmm.RCALLoss', in_channels=channels, head_classes=1, alpha=0.01, per_class=2)
    cfg.model.head = dict(
        type='ltmm.LongTailClsHead',
        num_classes=3,
        in_channels=channels,
        loss=dict(type='CrossEntropyLoss'),
        cls_views=1,
        aux_losses=[rcal],
    )
    cfg.model.train_cfg = dict(augments=dict(type='ltmm.MixupWithOriginals'))
    cfg.test_evaluator = cfg.val_evaluator = dict(type='ltmm.LongTailMetric', topk=(1,))
    cfg.train_dataloader.dataset = dict(
        type='ltmm.NoisyLabels', rate=0.3, kind='symmetric', dataset=cfg.train_dataloader.dataset
    )
    cfg.custom_hooks.append(dict(type='ltmm.CleanSelectionHook', thresholds=(20, 10)))
    return cfg


def rcal_of(runner):
    return runner.model.head.aux_losses[0].objective


@pytest.mark.parametrize('wrapper', ['OptimWrapper', 'ltmm.CPUAmpOptimWrapper'])
def test_resume_equals_never_stopped(tmp_path, wrapper):
    options = {'optim_wrapper.type': wrapper}
    runner = Runner.from_cfg(rcal_config(tmp_path / 'straight', **options))
    runner.train()
    assert runner.val_loop.run()['long_tail/top1'] > 50
    stop_and_resume(partial(rcal_config, tmp_path / 'stopped', **options), at_iter=18)
    straight, resumed = (torch.load(tmp_path / n / 'epoch_4.pth', weights_only=True) for n in ('straight', 'stopped'))
    torch.testing.assert_close(resumed['state_dict'], straight['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(resumed['optimizer'], straight['optimizer'], rtol=0, atol=0)


def test_targets_are_features_of_the_start_in_the_order_of_the_data(tmp_path):
    cfg = rcal_config(tmp_path, **{'train_cfg.max_epochs': 1})
    runner = Runner.from_cfg(cfg)
    runner._init_model_weights()
    start = {name: value.clone() for name, value in runner.model.state_dict().items() if 'backbone' in name}
    torch.save(dict(state_dict=start), tmp_path / 'start.pth')
    cfg.load_from, cfg.experiment_name = str(tmp_path / 'start.pth'), f'{tmp_path.name}_second'
    runner = Runner.from_cfg(cfg)
    runner.train()
    contrastive = rcal_of(runner).contrastive.values
    dataset = runner.train_dataloader.dataset
    assert len(contrastive) == len(dataset)
    runner.model.load_state_dict(start, strict=False)
    model, test = runner.model.eval(), Runner.build_dataloader(cfg.train_dataloader, seed=0)
    test.dataset._base.pipeline.transforms.pop(0)  # RandomFlip
    for batch in test:
        data = model.data_preprocessor(batch, False)
        rows = [sample.sample_idx for sample in data['data_samples']]
        with torch.no_grad():
            torch.testing.assert_close(model.extract_feat(data['inputs'])[-1], contrastive[rows])


def test_precision_and_recall_of_what_is_kept_are_in_the_log(tmp_path):
    runner = Runner.from_cfg(rcal_config(tmp_path, **{'train_cfg.max_epochs': 1}))
    runner.train()
    dataset, kept = runner.train_dataloader.dataset, rcal_of(runner).selection.values == 1
    noisy, true = torch.tensor(dataset.get_gt_labels()), torch.tensor(dataset.true_labels)
    scalars = {
        name.removeprefix('train/clean_'): history.current()
        for name, history in runner.message_hub.log_scalars.items()
        if name.startswith('train/clean_')
    }
    for name, c in (('', None), ('_many', 0), ('_medium', 1), ('_few', 2)):  # 40, 16 and 8 images
        group = torch.ones(64, dtype=torch.bool) if c is None else noisy == c
        right = (kept & group & (noisy == true)).sum()
        assert scalars.pop(f'precision{name}') == pytest.approx(float(right / (kept & group).sum()))
        assert scalars.pop(f'recall{name}') == pytest.approx(float(right / (group & (noisy == true)).sum()))
    assert not scalars
    log = next(tmp_path.glob('*/*.log')).read_text()
    assert 'Of the images that are no outliers: precision ' in log and 'clean_recall_few: ' in log


def test_report_without_true_labels_is_refused(tmp_path):
    cfg = rcal_config(tmp_path)
    cfg.train_dataloader.dataset = cfg.train_dataloader.dataset.dataset
    with pytest.raises(TypeError, match=r'needs one ltmm.RCALLoss and ltmm.NoisyLabels .* got 1 and ToyImages'):
        Runner.from_cfg(cfg).train()


@pytest.mark.slow
def test_two_processes_hold_the_same_state(tmp_path):
    cfg = rcal_config(tmp_path / 'two', **{'train_cfg.max_epochs': 1})
    cfg.find_unused_parameters = False  # all take part
    train_on_two_ranks(cfg)
    runner = Runner.from_cfg(rcal_config(tmp_path / 'one', **{'train_cfg.max_epochs': 1}))
    runner.train()
    two, one = torch.load(tmp_path / 'two' / 'epoch_1.pth', weights_only=True)['state_dict'], runner.model.state_dict()
    names = [name for name in one if 'gaussians' in name or 'contrastive' in name or 'selection' in name]
    assert len(names) == 5
    for name in names:
        torch.testing.assert_close(two[name], one[name])
