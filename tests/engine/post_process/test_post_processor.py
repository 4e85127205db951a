"""Search, measure and write, on a model that was trained by cross entropy on long-tailed toy images."""

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from toy import toy_config
from toy_multi_label import toy_comic_config

from ltmm import ClassDistribution
from ltmm.engine.post_process.post_processor import PostProcessor, post_process
from ltmm.evaluation import PerClassReport

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
    """What tools/test.py would say."""
    cfg = Config(cfg.to_dict())
    cfg.update(work_dir=str(folder), load_from=str(checkpoint), experiment_name=folder.name)
    return Runner.from_cfg(cfg).test()


STEPS = [
    dict(type='ltmm.LogitAdjustment', tau=0.7),
    dict(type='ltmm.TauNorm', tau=0.7),
    dict(type='ltmm.TemperatureScaling', temperature=2.0),
    dict(type='ltmm.NearestClassMean'),
]


@pytest.mark.parametrize('head', ['ours', 'mmpretrain'])
@pytest.mark.parametrize('step', STEPS, ids=lambda step: step['type'])
def test_the_written_model_is_worth_what_was_said(trained, tmp_path, head, step):
    cfg, checkpoint = trained(head)
    processor = PostProcessor(cfg, checkpoint, step)
    before, after = processor.evaluate()
    files = processor.write(tmp_path, 'new')
    if step['type'] == 'ltmm.NearestClassMean':
        assert files == [tmp_path / 'new.pth', tmp_path / 'new.py']
        cfg = Config.fromfile(files[1])
    else:
        assert files == [tmp_path / 'new.pth']  # built into the classifier: for the same config
    for report, path, name in ((before.report, checkpoint, 'before'), (after.report, files[0], 'after')):
        figures = figures_of_test(cfg if name == 'after' else trained(head)[0], path, tmp_path / name)
        assert figures['long_tail/balanced_accuracy'] == pytest.approx(report.figures()['balanced_accuracy'])
        assert figures['long_tail/few'] == pytest.approx(report.figures()['few'])


def test_the_written_checkpoint_loads_without_trust_and_carries_its_prior(trained, tmp_path):
    cfg, checkpoint = trained('ours')
    processor = PostProcessor(cfg, checkpoint, STEPS[0])
    content = torch.load(processor.write(tmp_path, 'new')[0], weights_only=True)
    assert ClassDistribution.from_state_dict(content['state_dict']) == processor.distribution
    assert content['meta']['post_process'] == dict(type='LogitAdjustment', tau=0.7, eps=1e-12)
    assert content['state_dict'].keys() == torch.load(checkpoint, weights_only=True)['state_dict'].keys()


@pytest.mark.parametrize('step', [STEPS[0], STEPS[2]], ids=lambda step: step['type'])
def test_what_cannot_be_built_in_gives_a_config(trained, tmp_path, step):
    cfg, checkpoint = trained('cosine')
    processor = PostProcessor(cfg, checkpoint, step)
    _, after = processor.evaluate()
    (path,) = processor.write(tmp_path, 'new')
    written = Config.fromfile(path)
    assert written.custom_hooks[-1].steps[0] == {**processor.step.settings(), 'type': step['type']}
    figures = figures_of_test(written, written.load_from, tmp_path / 'test')
    assert figures['long_tail/balanced_accuracy'] == pytest.approx(after.report.figures()['balanced_accuracy'])


def test_the_search_looks_at_images_that_were_not_trained_on(trained):
    cfg, checkpoint = trained('ours')
    processor = PostProcessor(cfg, checkpoint, dict(type='ltmm.TauNorm'))
    curve = processor.search(grid=(0, 2, 5), val_images=12)
    assert [strength for strength, _ in curve] == [0, 0.5, 1, 1.5, 2]
    values = [value for _, value in curve]
    assert processor.step.tau == curve[values.index(max(values))][0]


def test_the_grid_and_the_objective_are_those_of_the_correction_unless_given(trained):
    cfg, checkpoint = trained('ours')
    processor = PostProcessor(cfg, checkpoint, dict(type='ltmm.TemperatureScaling'))
    curve = processor.search()
    assert len(curve) == 36 and processor.step.temperature == min(curve, key=lambda point: point[1])[0]
    assert len(processor.search(grid=(1, 2, 3), objective='top1')) == 3
    assert processor.step.temperature == 1.0  # accuracy does not change: the first


def test_search_measure_and_write_in_one_go(trained, tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(MMLogger, 'info', lambda self, text, *_: lines.append(text))
    files = post_process(*trained('ours'), dict(type='ltmm.TauNorm'), tmp_path, 'new', search=dict(val_images=12))
    assert files == [tmp_path / 'new.pth']
    table = next(line for line in lines if line.startswith('Test set, in percent'))
    assert table.splitlines()[2].startswith('before') and table.splitlines()[3].startswith('TauNorm(tau=')
    assert 'negative log-likelihood' in table and 'calibration error' in table
    assert '24 validation images; 1 classes have none and do not count' in lines


def test_a_checkpoint_of_other_training_data_is_refused(trained):
    cfg, checkpoint = trained('ours')
    other = Config(cfg.to_dict())
    other.train_dataloader.dataset.imbalance_factor = 4
    processor = PostProcessor(other, checkpoint, dict(type='ltmm.TauNorm'))
    with pytest.raises(ValueError, match='Expected a checkpoint trained on the 84 images .* but it was trained on 70'):
        processor.search()


def test_a_checkpoint_without_a_prior_is_one_clear_error(trained, tmp_path):
    cfg, checkpoint = trained('ours')
    content = torch.load(checkpoint, weights_only=True)
    content['state_dict'] = {k: v for k, v in content['state_dict'].items() if 'class_distribution' not in k}
    torch.save(content, tmp_path / 'bare.pth')
    with pytest.raises(RuntimeError, match=r'bare.pth carries no class distribution.*--class-counts counts.json'):
        PostProcessor(cfg, str(tmp_path / 'bare.pth'), STEPS[0])
    processor = PostProcessor(cfg, str(tmp_path / 'bare.pth'), STEPS[0], class_counts=[48, 16, 6])
    written = torch.load(processor.write(tmp_path, 'new')[0], weights_only=True)
    assert ClassDistribution.from_state_dict(written['state_dict']) == ClassDistribution([48, 16, 6])


@pytest.mark.parametrize(
    ('step', 'head', 'error', 'message'),
    [
        (dict(type='ltmm.TauNorm'), 'cosine', TypeError, 'TauNorm rescales the weights of a linear classifier layer'),
        (dict(type='ltmm.TauNorm', tau=-1.0), 'ours', ValueError, '`tau` to be at least 0, but got -1.0'),
    ],
)
def test_what_does_not_fit_is_refused(trained, step, head, error, message):
    with pytest.raises(error, match=message):
        PostProcessor(*trained(head), step)


def test_several_labels_an_image_are_refused(tmp_path):
    with pytest.raises(TypeError, match='TemperatureScaling corrects classifiers with one label an image, but got COM'):
        PostProcessor(toy_comic_config(tmp_path), 'any.pth', dict(type='ltmm.TemperatureScaling'))


def test_counts_that_were_given_stand_in_the_written_config(trained, tmp_path):
    cfg, checkpoint = trained('cosine')
    (path,) = PostProcessor(cfg, checkpoint, STEPS[0], class_counts=[50, 5, 5]).write(tmp_path, 'new')
    assert Config.fromfile(path).custom_hooks[-1].steps[0].class_counts == [50, 5, 5]


def test_class_means_need_training_data(trained):
    cfg, checkpoint = trained('ours')
    cfg = Config(cfg.to_dict())
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        cfg.pop(key)
    with pytest.raises(ValueError, match='class means are taken from train_dataloader, which the config lacks'):
        PostProcessor(cfg, checkpoint, STEPS[3])
    with pytest.raises(ValueError, match='Expected validation data beside the test set'):
        PostProcessor(cfg, checkpoint, dict(type='ltmm.TauNorm')).search()


def test_a_config_that_corrects_already_is_refused(trained):
    cfg, checkpoint = trained('ours')
    cfg = Config(cfg.to_dict())
    cfg.custom_hooks.append(dict(type='ltmm.PostProcessHook', steps=[]))
    with pytest.raises(ValueError, match='Expected a config without a PostProcessHook'):
        PostProcessor(cfg, checkpoint, STEPS[0])


def test_the_groups_are_those_of_the_config(trained):
    processor = PostProcessor(*trained('ours'), STEPS[2])
    report: PerClassReport = processor.evaluate()[0].report
    assert report.shots.names() == ['many', 'medium', 'few']  # 48, 16 and 6 images, thresholds 20 and 10
