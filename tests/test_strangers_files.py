"""The attack of each way in: files that would execute code, or write outside the work directory."""

import pickle
import re
import runpy
import sys

import mmengine
import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from toy import ROOT, ToyImages, toy_config
from toy_lvis import detector_config, lvis_content, write_lvis

from ltmm.datasets import FeatureDataset, NoisyLabels
from ltmm.engine.stages.exemplar_mining import mine_exemplars
from ltmm.models.state.teacher import TeacherMixin
from ltmm.registry import TRANSFORMS
from ltmm.utils.checkpoints import forbid_code
from ltmm.utils.cli import one_line_errors


class Touch:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), 'w')


@TRANSFORMS.register_module()
class ImageName(BaseTransform):
    """The name that an annotation file may give an image."""

    def transform(self, results):
        return results | dict(img_path='../../up.png')


class Student(TeacherMixin, mmengine.model.BaseModule):
    def __init__(self, checkpoint):
        super().__init__()
        self.init_teachers([torch.nn.Linear(1, 1)], [checkpoint])


@pytest.fixture(scope='module')
def house(tmp_path_factory):
    """A folder with what was trained here: configs, the checkpoint of an epoch, a detector's data."""
    folder = tmp_path_factory.mktemp('house')
    cfg = toy_config(folder / 'run', **{'model.head.loss': dict(type='CrossEntropyLoss'), 'train_cfg.max_epochs': 1})
    cfg.train_dataloader.dataset = ConfigDict(
        type='ltmm.LongTailed', imbalance_factor=4, dataset={**cfg.train_dataloader.dataset, 'counts': (24, 24, 24)}
    )
    Runner.from_cfg(cfg).train()
    cfg.train_cfg.max_epochs = 2
    cfg.pop('work_dir'), cfg.pop('experiment_name', None)
    cfg.dump(folder / 'cfg.py')
    cfg.stages = [dict(type='ltmm.TrainStage', config=str(folder / 'cfg.py')), dict(type='ltmm.TrainStage')]
    cfg.dump(folder / 'stages.py')
    write_lvis(folder / 'data', lvis_content())
    detector_config(folder / 'detector', folder / 'data').dump(folder / 'detector.py')
    return folder


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A folder with files that would create the file 'executed'."""
    monkeypatch.chdir(tmp_path)
    touch, folder = Touch(tmp_path / 'executed'), tmp_path / 'evil'
    (folder / 'hub/checkpoints').mkdir(parents=True)
    monkeypatch.setenv('TORCH_HOME', str(folder))
    for name in ('epoch_1.pth', 'hub/checkpoints/evil.pth', 'human.pt'):
        torch.save(dict(state_dict={}, meta=dict(epoch=1, iter=1, note=touch)), folder / name)
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_1.pth'))
    (folder / 'p.pkl').write_bytes(pickle.dumps([touch]))
    (folder / 'p.yaml').write_text(f'!!python/object/apply:io.open [{touch.path}, w]')
    np.save(folder / 'counts.npy', np.array([touch, 1]), allow_pickle=True)
    for part in ('features', 'labels'):
        np.save(folder / f'train_{part}.npy', np.array([touch, 1]), allow_pickle=True)
    (folder / 'train_info.json').write_text('{"classes": ["a", "b"]}')
    return folder


def run(tool, *args):
    """Run a tool in this process; return the line that it ends with."""
    argv, sys.argv = sys.argv, [tool, *map(str, args)]
    try:
        with one_line_errors():
            runpy.run_path(str(ROOT / 'tools' / tool))['main']()
    except SystemExit as e:
        return str(e.code)
    finally:
        sys.argv = argv
    return ''


def train(house, evil, *args):
    return run('train.py', house / 'cfg.py', '--work-dir', evil.parent / 'work', *args)


def option(text):
    return lambda house, evil: train(house, evil, '--cfg-options', *text.format(evil=evil / 'epoch_1.pth').split())


def with_config(tool, *args):
    def call(house, evil):
        filled = [str(arg).format(evil=evil, house=house, out=evil.parent / 'out') for arg in args]
        return run(tool, house / 'cfg.py', *filled, '--work-dir', evil.parent / 'work')

    return call


def of_detector(*args):
    def call(house, evil):
        filled = [str(arg).format(evil=evil, house=house) for arg in args]
        data = house / 'data'
        with one_line_errors():
            runpy.run_path(str(ROOT / 'tools/analysis_tools/compare_detections.py'))['main'](
                [str(data / 'annotations.json'), str(data), 'oar', *filled]
            )

    return call


def in_process(function):
    return lambda house, evil: function(house, evil) and None


def interrupted_stage(house, evil):
    folder = evil.parent / 'work/stage1_cfg'
    folder.mkdir(parents=True)
    for name in ('epoch_1.pth', 'last_checkpoint'):
        (folder / name).write_bytes((evil / name).read_bytes())
    return run('train_stages.py', house / 'stages.py', '--work-dir', folder.parent)


def load_from_in_a_script(house, evil):
    cfg = Config.fromfile(house / 'cfg.py')
    cfg.work_dir, cfg.load_from = str(evil.parent / 'work'), str(evil / 'epoch_1.pth')
    Runner.from_cfg(cfg).train()


def mine(house, evil):
    mine_exemplars(Config.fromfile(house / 'detector.py'), evil / 'epoch_1.pth', evil / 'exemplars.json', 0.5, 5)


def another_package(house, evil):
    forbid_code()
    torch.load(evil / 'epoch_1.pth', weights_only=False)


def annotations(suffix):
    def call(house, evil):
        forbid_code()
        mmengine.load(evil / f'p.{suffix}')

    return call


TAU_NORM = ('--method', 'tau_norm', '--strength', '1')
PRETRAINED = 'model.{part}.init_cfg.type=Pretrained model.{part}.init_cfg.checkpoint={{evil}}'
WAYS = {
    'test': with_config('test.py', '{evil}/epoch_1.pth'),
    'resume': with_config('train.py', '--resume', '{evil}/epoch_1.pth'),
    'resume of the latest': lambda house, evil: run('train.py', house / 'cfg.py', '--resume', '--work-dir', evil),
    'resume in the config': lambda house, evil: run(
        'train.py', house / 'cfg.py', '--work-dir', evil, '--cfg-options', 'resume=True'
    ),
    'load_from': option('load_from={evil}'),
    'load_from a URL': option('load_from=https://example.org/evil.pth'),
    'load_from in a script': load_from_in_a_script,
    'init_cfg of the backbone': option(PRETRAINED.format(part='backbone')),
    'init_cfg of a part': option(PRETRAINED.format(part='head') + ' model.head.init_cfg.prefix=head'),
    'teacher': lambda house, evil: Student(str(evil / 'epoch_1.pth')).init_weights(),
    'first stage': lambda house, evil: run(
        'train_stages.py', house / 'stages.py', '--work-dir', evil.parent / 'w', '--first-stage', evil / 'epoch_1.pth'
    ),
    'interrupted stage': interrupted_stage,
    'post_process': with_config('post_process.py', '{evil}/epoch_1.pth', *TAU_NORM),
    'extract_features': with_config('extract_features.py', '{evil}/epoch_1.pth', '--out', '{out}'),
    'reliability_diagram': with_config('analysis_tools/reliability_diagram.py', '{evil}/epoch_1.pth'),
    'compare_detections': of_detector('{evil}/epoch_1.pth', '--configs', '{house}/detector.py'),
    'plot_features': lambda house, evil: run('analysis_tools/plot_features.py', house / 'cfg.py', evil / 'epoch_1.pth'),
    'plot_attention': lambda house, evil: run(
        'analysis_tools/plot_attention.py', house / 'cfg.py', evil / 'epoch_1.pth'
    ),
    'exemplars': mine,
    'noisy labels': lambda house, evil: NoisyLabels(ToyImages(), file=str(evil / 'human.pt')),
    'another package': another_package,
    'annotations in .pkl': annotations('pkl'),
    'annotations in .yaml': annotations('yaml'),
}
OTHER_FORMATS = {
    'class counts': with_config(
        'post_process.py', '{house}/run/epoch_1.pth', *TAU_NORM, '--class-counts', '{evil}/counts.npy'
    ),
    'features': lambda house, evil: FeatureDataset(str(evil), 'train'),
    'noisy labels': lambda house, evil: NoisyLabels(ToyImages(), file=str(evil / 'counts.npy')),
    'predictions of a classifier': lambda house, evil: run('analysis_tools/reliability_diagram.py', evil / 'p.pkl'),
    'predictions of a detector': of_detector('{evil}/p.pkl', '--configs', '{house}/detector.py'),
}


@pytest.mark.parametrize('way', WAYS)
def test_pickle_is_not_executed(house, evil, way):
    try:
        message = WAYS[way](house, evil)
    except (ValueError, pickle.UnpicklingError, SystemExit) as e:
        message = str(e)
    assert 'Nothing was run' in message or way == 'another package'
    assert '\n' not in message or way == 'another package'
    assert not (evil.parent / 'executed').exists()


@pytest.mark.parametrize('way', OTHER_FORMATS)
def test_other_formats_are_not_unpickled(house, evil, way):
    try:
        message = OTHER_FORMATS[way](house, evil)
    except (ValueError, SystemExit) as e:
        message = str(e)
    assert re.search('Python objects|not a .npy file|^2$|Nothing was run', message)
    assert not (evil.parent / 'executed').exists()


def test_trusted_file_is_executed_with_a_loud_line(house, evil, capsys):
    WAYS['test'](house, evil)
    args = ['test.py', house / 'cfg.py', evil / 'epoch_1.pth', '--work-dir', evil.parent / 'work']
    run(*args, '--trust')
    assert (evil.parent / 'executed').exists()
    loud = [line for line in capsys.readouterr().err.splitlines() if 'RUNNING IT' in line]
    assert loud == [f'WARNING: --trust: {evil}/epoch_1.pth has to run code, io.open. RUNNING IT.']
    assert 'Nothing was run' in run(*args)  # trust ends with the command


@pytest.fixture
def hostile(house, evil):
    """A checkpoint without code that has code as text, and paths of files that are not its own."""
    content = torch.load(house / 'run/epoch_1.pth', weights_only=True)
    code = f'open({str(evil.parent / "executed")!r}, "w")'
    content['meta'].update(config=code, cfg=code, experiment_name='../../up')
    (evil.parent / 'thesis.txt').touch()
    best = dict(best_ckpt=str(evil.parent / 'thesis.txt'), keep_ckpt_ids=['/../../thesis', 0])
    content['message_hub']['runtime_info'].update(cfg=code, last_ckpt='/elsewhere', **best)
    torch.save(content, evil / 'hostile.pth')
    return evil / 'hostile.pth'


def files_outside(evil):
    return {path for path in evil.parent.rglob('*') if path.is_file() and evil.parent / 'work' not in path.parents}


def test_nothing_is_executed_deleted_or_written_elsewhere(house, evil, hostile):
    cfg = Config.fromfile(house / 'cfg.py')
    cfg.experiment_name = '../../up'
    cfg.default_hooks.checkpoint.update(save_best='auto', max_keep_ckpts=1)
    cfg.default_hooks.visualization = dict(type='VisualizationHook', enable=True, interval=8, out_dir='work/drawn')
    cfg.visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
    for dataset in (cfg.val_dataloader.dataset, cfg.test_dataloader.dataset):
        dataset.pipeline = [dict(type='ltmm.ImageName'), dict(type='PackInputs', meta_keys=('sample_idx', 'img_path'))]
    cfg.val_evaluator = cfg.test_evaluator = [dict(type='ltmm.LongTailMetric', topk=(1,)), dict(type='Accuracy')]
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        dataset.get('dataset', dataset).metainfo = dict(classes=['../../up', '/tmp/up', 'a/b'])
    cfg.dump(evil / 'cfg.py')
    before = files_outside(evil)
    work_dir = evil.parent / 'work'
    assert run('train.py', evil / 'cfg.py', '--work-dir', work_dir, '--resume', hostile) == ''
    assert run('test.py', evil / 'cfg.py', hostile, '--work-dir', work_dir, '--out', work_dir / 'p.npz') == ''
    assert files_outside(evil) == before
    assert [path.name for path in work_dir.glob('epoch_*')] == ['epoch_2.pth']
    resumed = torch.load(work_dir / 'epoch_2.pth', weights_only=True)
    assert 'open(' not in resumed['message_hub']['runtime_info']['cfg'] + resumed['meta']['cfg']
    assert list(work_dir.glob('best_*')) and list(work_dir.glob('drawn/up.png*'))


def test_config_in_a_checkpoint_of_a_detector(house, evil, hostile):
    """compare_detections executed ``meta['cfg']``."""
    with pytest.raises(SystemExit, match='hostile.pth to fit the model'):
        of_detector('{evil}/hostile.pth', '--configs', '{house}/detector.py')(house, evil)
    assert not (evil.parent / 'executed').exists()


def test_stage_name_is_a_file_name(house, evil):
    name = 'stages.1.name=../../../up'
    line = run('train_stages.py', house / 'stages.py', '--work-dir', evil.parent / 'work', '--cfg-options', name)
    assert line == "InputError: Expected `name` to be a file name, but got '../../../up'."
