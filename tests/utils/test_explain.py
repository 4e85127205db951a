import runpy
import sys

import pytest
import torch
from toy import ROOT, toy_config

from ltmm.utils.cli import one_line_errors

OPTIONS = {
    'lr=0,1': ('optim_wrapper.optimizer.lr=0,1', 'SGD: TypeError'),
    'batch_size': ('train_dataloader.batch_size=0', 'build_dataloader: ValueError: batch_size should be a positive'),
    'argument of the loader': (
        'train_dataloader.batchsize=4',
        "DataLoader has no argument 'batchsize'. Did you mean batch_",
    ),
    'argument of the loop': (
        'train_cfg.max_epoch=4',
        "EpochBasedTrainLoop has no argument 'max_epoch'. Did you mean max_epo",
    ),
    'loss as a string': ('model.head.loss=ltmm.LDAMLoss', "got 'ltmm.LDAMLoss'. It is `loss` of LongTailClsHead"),
    'sampler without scope': (
        'train_dataloader.sampler.type=ClassAwareSampler',
        'Did you mean ltmm.ClassAwareSampler?',
    ),
    'metric': ('val_evaluator.type=Acuracy', "no metric called 'Acuracy'. Did you mean mmpretrain.Accuracy?"),
    'optimizer': ('optim_wrapper.optimizer.type=SDG', "no optimizer called 'SDG'. Did you mean SGD?"),
    'hook without type': ('default_hooks.checkpoit.interval=4', "expected dict(type=...), but got {'interval': 4}"),
    'index of a list': ('param_scheduler.3.type=X', '--cfg-options: KeyError: Index 3 exceeds'),
    'key of a list': ('model.data_preprocessor.mean.x=1', '--cfg-options: TypeError: list indices must be'),
    'own top-level key': (
        'train_dataloder.batch_size=4',
        "the config has no 'train_dataloder'. Did you mean train_dataloader?",
    ),
    'clip_grad': ('optim_wrapper.clip_grad=1', 'OptimWrapper: AssertionError: If `clip_grad` is not None'),
    'without =': ('lr', '2'),
    'brackets': ('lr=[1,(2]', '2'),
    'no batch': (
        'train_dataloader.batch_size=99 train_dataloader.drop_last=True',
        'has no batch: 64 samples, batch_size=99',
    ),
}
CONFIGS = {
    'syntax': ('model = dict(', "cfg.py, line 2: SyntaxError: '(' was never closed"),
    'syntax of a base': ("_base_ = ['./bad.py']", 'bad.py, line 1: SyntaxError'),
    'name': ('\nx = undefined', "cfg.py, line 3: NameError: name 'undefined'"),
    'missing base': ("_base_ = ['./absent.py']", 'cfg.py: there is no base '),
    'width of the features': (
        "model = dict(head=dict(_delete_=True, type='LinearClsHead', num_classes=3, in_channels=9))",
        'LinearClsHead: expected features (N, 9), but got (8, 8)',
    ),
    'custom import': (
        "custom_imports = dict(imports=['toyy'])",
        "custom_imports: ModuleNotFoundError: No module named 'toyy'",
    ),
    'dict over a list': ('param_scheduler = dict(type="X")', 'cfg.py: TypeError: param_scheduler='),
    'forgotten _delete_': (
        "train_dataloader = dict(sampler=dict(type='ltmm.ClassAwareSampler'))",
        "ClassAwareSampler has no argument 'shuffle'. If a base config sets it, write _delete_=True",
    ),
    'misspelt tau': (
        "model = dict(head=dict(loss=dict(type='ltmm.LogitAdjustmentLoss', tua=2)))",
        "LogitAdjustmentLoss has no argument 'tua'. Did you mean tau?",
    ),
    'top-level key': ('optim_wraper = dict(type="AmpOptimWrapper")', "'optim_wraper', which nothing reads"),
    'transform': (
        "train_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile')]))",
        'CheckedLoad: KeyError: img_path',
    ),
    'list as model': ('model = []', 'build_model: TypeError: model should be'),
}


@pytest.fixture
def line_of(tmp_path, monkeypatch):
    """A function that trains a config that inherits the toy config, and returns the line it ends with."""
    toy_config(tmp_path / 'run').dump(tmp_path / 'toy.py')
    (tmp_path / 'bad.py').write_text('x = (\n')

    def run(text, *options):
        (tmp_path / 'cfg.py').write_text(text if '_base_' in text else f"_base_ = './toy.py'\n{text}\n")
        options = ['--cfg-options', *options] if options else []
        monkeypatch.setattr(sys, 'argv', ['train.py', str(tmp_path / 'cfg.py'), *options])
        with pytest.raises(SystemExit) as caught, one_line_errors():
            runpy.run_path(str(ROOT / 'tools/train.py'))['main']()
        return str(caught.value.code)

    return run


@pytest.mark.parametrize('options, words', OPTIONS.values(), ids=OPTIONS)
def test_mistake_on_the_command_line(line_of, options, words):
    line = line_of('', *options.split())
    assert words in line and '\n' not in line


@pytest.mark.parametrize('text, words', CONFIGS.values(), ids=CONFIGS)
def test_mistake_in_a_config(line_of, text, words):
    line = line_of(text)
    assert words in line and '\n' not in line


def test_mistake_in_a_data_worker(line_of):
    pipeline = "dataset=dict(pipeline=[dict(type='LoadImageFromFile')])"
    assert line_of(f'train_dataloader = dict(num_workers=1, {pipeline})').startswith("KeyError: 'img_path' (in a data")


def test_variables_of_a_config_are_kept(tmp_path):
    from ltmm.utils.configs import load_config
    from ltmm.utils.parsers import common_parser

    toy_config(tmp_path / 'run').dump(tmp_path / 'toy.py')
    text = "_base_ = './toy.py'\n_optim_wraper = 1\nval_evaluator_abs = 2\nepochs = 3\n"
    (tmp_path / 'cfg.py').write_text(text)
    cfg = load_config(common_parser('').parse_args([str(tmp_path / 'cfg.py')]))
    assert (cfg._optim_wraper, cfg.val_evaluator_abs, cfg.epochs) == (1, 2, 3)


@pytest.mark.parametrize('error', [ImportError('Please run "pip install wandb"'), torch.OutOfMemoryError('no memory')])
def test_error_of_the_installation(error):
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise error
    assert str(caught.value.code).startswith(f'{type(error).__name__}: {error}')
