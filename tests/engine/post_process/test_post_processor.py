"""Fit, evaluate and write corrections of a model trained with cross entropy on long-tailed toy images."""

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from toy import toy_config
from toy_multi_label import toy_comic_config

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.engine.post_process import SplitOutputs, build_post_processor, post_process
from ltmm.engine.post_process.classifier_post_processor import shots_of
from ltmm.engine.post_process.split_outputs import gathered_outputs
from ltmm.evaluation import PerClassReport
from ltmm.utils.predictions import read_predictions

HEADS = dict(
    ours=dict(loss=dict(type='CrossEntropyLoss')),
    mmpretrain=dict(type='LinearClsHead', num_classes=3, in_channels=8, _delete_=True),
    cosine=dict(loss=dict(type='CrossEntropyLoss'), classifier=dict(type='ltmm.NormedLinear', scale=16.0)),
)


def toy(folder, head='ours', **overrides) -> Config:
    cfg = toy_config(folder, **{'model.head': HEADS[head], **overrides})
    cfg.train_dataloader.dataset = ConfigDict(
        type='ltmm.LongTailed', imbalance_factor=8, dataset={**cfg.train_dataloader.dataset, 'counts': (48, 48, 48)}
    )
    cfg.test_evaluator = cfg.val_evaluator = dict(type='ltmm.LongTailMetric', topk=(1,), thresholds=(20, 10))
    return cfg


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A function from the name of a head to the config and the checkpoint of a trained model."""
    known = {}

    def get(head):
        if head not in known:
            folder = tmp_path_factory.mktemp(head)
            cfg = toy(folder, head, **{'train_cfg.max_epochs': 2})
            Runner.from_cfg(cfg).train()
            known[head] = toy(folder, head), str(folder / 'epoch_2.pth')
        return known[head]

    return get


def figures_of_test(cfg, checkpoint, folder) -> dict:
    """Figures of tools/test.py."""
    cfg = Config(cfg.to_dict())
    cfg.update(work_dir=str(folder), load_from=str(checkpoint), experiment_name=folder.name)
    return Runner.from_cfg(cfg).test()


IWTS = 'ltmm.ImportanceWeightedTemperatureScaling'
STEPS = [
    dict(type='ltmm.LogitAdjustment', tau=0.7),
    dict(type='ltmm.TauNorm', tau=0.7),
    dict(type='ltmm.TemperatureScaling', temperature=2.0),
    dict(type='ltmm.NearestClassMean'),
    dict(type='ltmm.IsotonicCalibration', per_class=True),
    dict(type=IWTS, head_classes=1),
]
OTHER_HEAD = ('ltmm.NearestClassMean', 'ltmm.IsotonicCalibration')


@pytest.mark.parametrize('head', ['ours', 'mmpretrain'])
@pytest.mark.parametrize('step', STEPS, ids=lambda step: step['type'])
def test_written_model_has_the_figures_of_evaluate(trained, tmp_path, head, step):
    cfg, checkpoint = trained(head)
    if step['type'] == IWTS:
        cfg = Config(cfg.to_dict())
        cfg.val_dataloader.dataset.counts = (24, 8, 3)  # the class mix of the training data
    processor = build_post_processor(cfg, checkpoint, step)
    if processor.step.needs_fit:
        processor.fit()
    before, after = processor.evaluate()
    files = processor.write(tmp_path, 'new')
    if step['type'] in OTHER_HEAD:
        assert files == [tmp_path / 'new.pth', tmp_path / 'new.py']
        cfg = Config.fromfile(files[1])
    else:
        assert files == [tmp_path / 'new.pth']  # for the same config
    for report, path, name in ((before.report, checkpoint, 'before'), (after.report, files[0], 'after')):
        figures = figures_of_test(cfg if name == 'after' else trained(head)[0], path, tmp_path / name)
        assert figures['long_tail/balanced_accuracy'] == pytest.approx(report.figures()['balanced_accuracy'])
        assert figures['long_tail/few'] == pytest.approx(report.figures()['few'])


@pytest.mark.parametrize('head', ['mmpretrain', 'cosine'])
def test_conformal_sets(trained, tmp_path, head):
    cfg, checkpoint = trained(head)
    step = dict(type='ltmm.ConformalSets', alpha=0.3, class_share=0.5)
    processor = build_post_processor(cfg, checkpoint, step)
    processor.fit(val_images=12)
    before, after = processor.evaluate()
    assert [line.split()[0] for line in processor.summary(before, after).splitlines()[1:-1]] == [
        'softmax',
        'prevalence',
    ]
    files = processor.write(tmp_path, 'new')
    assert files == [tmp_path / f'new{suffix}' for suffix in ('.pth', '.py', '_coverage.png')] and files[2].exists()
    with pytest.MonkeyPatch.context() as patch:
        for module in ('conformal_post_processor', 'post_processor'):
            patch.setattr(f'ltmm.engine.post_process.{module}.is_main_process', lambda: False)
        assert not any(path.exists() for path in processor.write(tmp_path / 'other_rank', 'new'))
    written = Config.fromfile(files[1])
    written.test_evaluator = [written.test_evaluator, dict(type='ltmm.SetCoverageMetric', thresholds=(20, 10))]
    figures = figures_of_test(written, files[0], tmp_path / 'test')
    expected = after.figures(shots_of(cfg, processor.distribution))
    for name, value in expected.items():
        value = value if name.startswith('size') else 100 * value
        assert figures[f'coverage/{name}'] == pytest.approx(value, nan_ok=True)
    assert 0 < expected['size'] < 3
    before = figures_of_test(cfg, checkpoint, tmp_path / 'before')
    assert figures['long_tail/balanced_accuracy'] == before['long_tail/balanced_accuracy']  # the same predictions
    with pytest.raises(ValueError, match='a config without CorrectedHead'):
        build_post_processor(written, str(files[0]), STEPS[2])


@pytest.mark.parametrize('loss', ['CrossEntropyLoss', 'ltmm.BalancedSoftmaxLoss'])
def test_gla(trained, tmp_path, loss):
    cfg, checkpoint = trained('ours')
    cfg = Config(cfg.to_dict())
    cfg.model.head.loss = dict(type=loss)
    step = dict(
        type='ltmm.GeneralizedLogitAdjustment', zero_shot={s: str(tmp_path / f'{s}.npy') for s in ('val', 'test')}
    )
    processor = build_post_processor(cfg, checkpoint, step)
    for split, label in (
        ('val', processor.val_split(None, 20).label),
        ('test', gathered_outputs(processor.model, cfg, cfg.test_dataloader.dataset, processor.distribution).label),
    ):
        noise = torch.randn(len(label), 3, generator=torch.Generator().manual_seed(0))
        with pytest.raises(ValueError, match=f'{split}.npy is no readable'):
            processor.fit()
        np.save(tmp_path / f'{split}.npy', (2 * torch.eye(3)[label] + noise).numpy())
    processor.fit()
    assert processor.step.subtracts_prior == (loss == 'CrossEntropyLoss')
    fine_tuned, zero_shot, joined = processor.evaluate()
    assert zero_shot.report.figures()['top1'] < 100
    assert 'GLA' in processor.summary(fine_tuned, zero_shot, joined)
    (path,) = processor.write(tmp_path, 'gla')
    samples = read_predictions(path)
    hits = [sample['pred_score'].argmax() == sample['gt_label'][0] for sample in samples]
    assert 100 * np.mean(hits) == pytest.approx(joined.report.figures()['top1'])


def test_written_checkpoint_loads_with_weights_only_and_carries_its_prior(trained, tmp_path):
    cfg, checkpoint = trained('ours')
    processor = build_post_processor(cfg, checkpoint, STEPS[0])
    content = torch.load(processor.write(tmp_path, 'new')[0], weights_only=True)
    assert ClassDistribution.from_state_dict(content['state_dict']) == processor.distribution
    assert content['meta']['post_process'] == dict(type='LogitAdjustment', tau=0.7, eps=1e-12)
    assert content['state_dict'].keys() == torch.load(checkpoint, weights_only=True)['state_dict'].keys()


@pytest.mark.parametrize('step', [STEPS[0], STEPS[2]], ids=lambda step: step['type'])
def test_correction_that_the_head_cannot_hold_gives_a_config(trained, tmp_path, step):
    cfg, checkpoint = trained('cosine')
    processor = build_post_processor(cfg, checkpoint, step)
    _, after = processor.evaluate()
    (path,) = processor.write(tmp_path, 'new')
    written = Config.fromfile(path)
    assert written.custom_hooks[-1].steps[0] == {**processor.step.settings(), 'type': step['type']}
    figures = figures_of_test(written, written.load_from, tmp_path / 'test')
    assert figures['long_tail/balanced_accuracy'] == pytest.approx(after.report.figures()['balanced_accuracy'])


def search(processor, **options):
    """Strengths and values of a search."""
    curve, evaluate = {}, SplitOutputs.evaluate

    def record(split, step, strengths):
        curve.update(zip(strengths, values := evaluate(split, step, strengths)))
        return values

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SplitOutputs, 'evaluate', record)
        processor.fit(**options)
    return curve


def test_search_on_held_out_images(trained):
    processor = build_post_processor(*trained('ours'), dict(type='ltmm.TauNorm'))
    curve = search(processor, grid=(0, 2, 5), val_images=12)
    assert list(curve) == [0, 0.5, 1, 1.5, 2]
    assert processor.step.tau == max(curve, key=curve.get)


@pytest.mark.parametrize('loader', ['test', 'val', 'train'])
def test_data_of_other_classes(trained, loader):
    cfg, checkpoint = trained('ours')
    cfg = Config(cfg.to_dict())
    dataset = cfg[f'{loader}_dataloader'].dataset
    (dataset.dataset if loader == 'train' else dataset).metainfo = dict(classes=('class 1', 'class 0', 'class 2'))
    if loader == 'val':
        dataset.counts = (3, 3, 3)
    processor = build_post_processor(cfg, checkpoint, dict(type='ltmm.TauNorm'))
    use = dict(
        test=processor.evaluate, val=processor.val_split('val', None).outputs, train=processor.train_split().outputs
    )
    with pytest.raises(ClassDistributionError, match="class 0 is 'class 0' in training and 'class 1' in the dataset"):
        use[loader]()


def test_counts_by_name_in_a_file(trained, tmp_path):
    (tmp_path / 'counts.json').write_text('{"class 2": 6, "class 0": 48, "class 1": 16}')
    cfg, checkpoint = trained('ours')
    processor = build_post_processor(cfg, checkpoint, STEPS[0], str(tmp_path / 'counts.json'))
    assert processor.step.get_class_distribution() == ClassDistribution([48, 16, 6])
    content = torch.load(checkpoint, weights_only=True)
    del content['meta']['dataset_meta']
    torch.save(content, tmp_path / 'nameless.pth')
    with pytest.raises(ClassDistributionError, match='class names in .*nameless.pth'):
        build_post_processor(cfg, str(tmp_path / 'nameless.pth'), STEPS[0], str(tmp_path / 'counts.json'))


def test_grid_and_objective_are_those_of_the_correction_by_default(trained):
    processor = build_post_processor(*trained('ours'), dict(type='ltmm.TauNorm'))
    curve = search(processor)
    assert len(curve) == 21 and processor.step.tau == max(curve, key=curve.get)
    processor = build_post_processor(*trained('ours'), dict(type='ltmm.TemperatureScaling'))
    assert not search(processor)  # L-BFGS
    curve = search(processor, grid=(0.5, 4, 36))
    assert len(curve) == 36 and processor.step.temperature == min(curve, key=curve.get)
    assert len(search(processor, grid=(1, 2, 3), objective='top1')) == 3
    assert processor.step.temperature == 1.0  # accuracy does not change: the first


def test_post_process(trained, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(MMLogger, '_log', lambda self, level, text, *_, **__: lines.append(text))
    files = post_process(*trained('ours'), dict(type='ltmm.TauNorm'), tmp_path, 'new', search=dict(val_images=12))
    assert files == [tmp_path / 'new.pth']
    table = next(line for line in lines if line.startswith('Test set, in percent'))
    assert table.splitlines()[2].startswith('before') and table.splitlines()[3].startswith('TauNorm(tau=')
    assert 'negative log-likelihood' in table and 'calibration error' in table
    assert '24 validation images; 1 classes have none and do not count' in lines


def test_checkpoint_of_other_training_data_is_refused(trained):
    cfg, checkpoint = trained('ours')
    other = Config(cfg.to_dict())
    other.train_dataloader.dataset.imbalance_factor = 4
    processor = build_post_processor(other, checkpoint, dict(type='ltmm.TauNorm'))
    with pytest.raises(ValueError, match='trained on the 84 training images of the config, but it was trained on 70'):
        processor.fit()


def test_checkpoint_without_class_distribution(trained, tmp_path):
    cfg, checkpoint = trained('ours')
    content = torch.load(checkpoint, weights_only=True)
    content['state_dict'] = {k: v for k, v in content['state_dict'].items() if 'class_distribution' not in k}
    torch.save(content, tmp_path / 'bare.pth')
    with pytest.raises(RuntimeError, match=r'bare.pth carries no class distribution.*--class-counts counts.json'):
        build_post_processor(cfg, str(tmp_path / 'bare.pth'), STEPS[0])
    processor = build_post_processor(cfg, str(tmp_path / 'bare.pth'), STEPS[0], class_counts=[48, 16, 6])
    written = torch.load(processor.write(tmp_path, 'new')[0], weights_only=True)
    assert ClassDistribution.from_state_dict(written['state_dict']) == ClassDistribution([48, 16, 6])


@pytest.mark.parametrize(
    ('step', 'head', 'error', 'message'),
    [
        (dict(type='ltmm.TauNorm'), 'cosine', TypeError, 'TauNorm needs a head that ends in one nn.Linear'),
        (dict(type='ltmm.TauNorm', tau=-1.0), 'ours', ValueError, '`tau` to be >= 0, but got -1.0'),
    ],
)
def test_wrong_corrections_are_refused(trained, step, head, error, message):
    with pytest.raises(error, match=message):
        build_post_processor(*trained(head), step)


def test_several_labels_per_image_are_refused(tmp_path):
    with pytest.raises(TypeError, match='TemperatureScaling needs a classifier .* but got COMICHead'):
        build_post_processor(toy_comic_config(tmp_path), 'any.pth', dict(type='ltmm.TemperatureScaling'))


def test_written_config_has_the_given_counts(trained, tmp_path):
    cfg, checkpoint = trained('cosine')
    (path,) = build_post_processor(cfg, checkpoint, STEPS[0], class_counts=[50, 5, 5]).write(tmp_path, 'new')
    assert Config.fromfile(path).custom_hooks[-1].steps[0].class_counts == [50, 5, 5]
    counts = dict(instance_counts=[50, 5, 5], num_images=55)  # some images hold two classes
    (path,) = build_post_processor(cfg, checkpoint, STEPS[0], class_counts=counts).write(tmp_path, 'new')
    assert Config.fromfile(path).custom_hooks[-1].steps[0].class_counts.num_images == 55


def test_data_that_the_config_lacks(trained):
    cfg, checkpoint = trained('ours')
    cfg = Config(cfg.to_dict())
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg.pop(key)
    with pytest.raises(ValueError, match='fitted on train_dataloader, which the config lacks'):
        build_post_processor(cfg, checkpoint, STEPS[3]).fit()
    with pytest.raises(ValueError, match='Expected validation data'):
        build_post_processor(cfg, checkpoint, dict(type='ltmm.TauNorm')).fit()


def test_config_with_a_hook_is_refused(trained):
    cfg, checkpoint = trained('ours')
    cfg = Config(cfg.to_dict())
    cfg.custom_hooks.append(dict(type='ltmm.PostProcessHook', steps=[]))
    with pytest.raises(ValueError, match='a config without PostProcessHook'):
        build_post_processor(cfg, checkpoint, STEPS[0])


def test_iwts_refuses_balanced_validation_data(trained):
    with pytest.raises(ValueError, match='the 1 most frequent classes have 69 % of the training images and 0 %'):
        build_post_processor(*trained('ours'), dict(type=IWTS, head_classes=1)).fit()


def test_groups_are_those_of_the_config(trained):
    processor = build_post_processor(*trained('ours'), STEPS[2])
    report: PerClassReport = processor.evaluate()[0].report
    assert report.shots.names() == ['many', 'medium', 'few']  # 48, 16 and 6 images, thresholds 20 and 10
