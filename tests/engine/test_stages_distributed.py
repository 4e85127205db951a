"""Stages in two processes equal those in one with the doubled batch."""

import json

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from toy import toy_config
from toy_lvis import lvis_content, write_lvis
from toy_processes import run_on_two_ranks, run_tool
from toy_stepwise import stage_configs

from ltmm.engine.stages import first_to_run, read_stages, run_stages
from ltmm.utils.parsers import common_parser


@pytest.fixture
def configs(tmp_path):
    """A first stage and its checkpoint; a new classifier, and class means, on its frozen features."""
    cfg = toy_config('', **{'model.head.loss': dict(type='CrossEntropyLoss'), 'train_cfg.max_epochs': 1})
    cfg.pop('work_dir'), cfg.pop('experiment_name')
    cfg.train_dataloader.dataset.pipeline = cfg.test_dataloader.dataset.pipeline  # no random augmentation
    cfg.test_evaluator = cfg.val_evaluator = dict(type='ltmm.LongTailMetric', topk=(1,))
    cfg.dump(tmp_path / 'ce.py')
    first = Config(cfg.to_dict())
    first.work_dir = str(tmp_path / 'first')
    Runner.from_cfg(first).train()
    crt, ncm = Config(cfg.to_dict()), Config(cfg.to_dict())
    train = dict(type='ltmm.TrainStage', config=str(tmp_path / 'ce.py'))
    crt.stages = [train, dict(type='ltmm.TrainStage')]
    ncm.stages = [train, dict(type='ltmm.PostProcessStage', step=dict(type='ltmm.NearestClassMean'))]
    crt.custom_hooks += [
        dict(type='ltmm.LoadPartsHook', prefixes=['backbone']),
        dict(type='ltmm.FreezeHook', prefixes=['backbone'], norm_eval=True),  # no statistics of half a batch
    ]
    crt.model.head.init_cfg = dict(type='Constant', layer='Linear', val=0.1)
    crt.train_dataloader.sampler = dict(type='ltmm.ClassAwareSampler', num_samples_per_class=1)
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        ncm[key] = None
    for name, config in (('crt', crt), ('ncm', ncm)):
        config.dump(tmp_path / f'{name}.py')
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize('name', ['crt', 'ncm'])
def test_two_processes_equal_one(configs, name):
    first = configs / 'first/epoch_1.pth'
    options = ['train_dataloader.batch_size=16'] if name == 'crt' else ['randomness.seed=0']
    args = [str(configs / f'{name}.py'), '--work-dir', str(configs / 'one'), '--cfg-options', *options]
    stages = read_stages(common_parser('').parse_args(args))
    one = run_stages(stages, first_to_run(stages, first), first)

    work = configs / 'two'
    run = run_on_two_ranks('tools/train_stages.py', configs / f'{name}.py', '--work-dir', work, '--first-stage', first)
    assert run.returncode == 0, run.stderr[-3000:]
    two = work / one.relative_to(configs / 'one')
    one, two = (torch.load(path, weights_only=True)['state_dict'] for path in (one, two))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_two_processes_extract_the_features_of_one(configs):
    args = ('tools/extract_features.py', configs / 'ce.py', configs / 'first/epoch_1.pth', '--splits', 'train')
    one = run_tool(*args, '--out', configs / 'one', '--work-dir', configs / 'work')
    two = run_on_two_ranks(*args, '--out', configs / 'two', '--work-dir', configs / 'work')
    assert one.returncode == two.returncode == 0, one.stderr[-2000:] + two.stderr[-2000:]
    for name in ('features.npy', 'labels.npy'):
        assert (configs / f'one/train_{name}').read_bytes() == (configs / f'two/train_{name}').read_bytes()


@pytest.mark.slow
def test_two_processes_mine_the_exemplars_of_one(tmp_path):
    write_lvis(tmp_path / 'data', lvis_content(7))  # the last process has an image less
    stage_configs(tmp_path, tmp_path / 'data', detr=False)
    train = run_tool('tools/train.py', tmp_path / 'stage0.py', '--work-dir', tmp_path / 'first')
    assert train.returncode == 0, train.stderr[-2000:]
    args = ('tools/train_stages.py', tmp_path / 'exemplars.py', '--first-stage', tmp_path / 'first/epoch_2.pth')
    one = run_tool(*args, '--work-dir', tmp_path / 'one')
    two = run_on_two_ranks(*args, '--work-dir', tmp_path / 'two')
    assert one.returncode == two.returncode == 0, one.stderr[-2000:] + two.stderr[-2000:]
    files = [
        json.loads((tmp_path / name / 'stage2_exemplar_mining/exemplars.json').read_text()) for name in ('one', 'two')
    ]
    for ours, theirs in zip(*(file['categories'] for file in files)):
        assert ours['annotation_ids'] == theirs['annotation_ids']
        assert ours['scores'] == pytest.approx(theirs['scores'], abs=1e-5)
