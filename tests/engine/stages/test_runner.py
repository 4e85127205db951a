"""Running stages: order, skipping of complete stages, exact resume, errors."""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.runner import Runner
from toy import toy_config
from toy_processes import run_tool
from toy_stages import run, run_and_stop

from ltmm.engine.stages import Stage, check_needs_no_stage, link_result, read_stages
from ltmm.registry import MODELS, STAGES
from ltmm.utils.errors import InputError
from ltmm.utils.parsers import common_parser

FREEZE = dict(type='ltmm.FreezeHook', prefixes=['backbone'])
LOAD = dict(type='ltmm.LoadPartsHook', prefixes=['backbone'])


@pytest.fixture
def configs(tmp_path):
    """Config files: two epochs of cross entropy; a new classifier on it; tau-normalization and class means of it."""
    cfg = toy_config('', **{'model.head.loss': dict(type='CrossEntropyLoss'), 'train_cfg.max_epochs': 2})
    cfg.default_hooks.checkpoint.max_keep_ckpts = 4
    cfg.train_dataloader.dataset = ConfigDict(
        type='ltmm.LongTailed', imbalance_factor=4, dataset={**cfg.train_dataloader.dataset, 'counts': (24, 24, 24)}
    )
    cfg.pop('work_dir'), cfg.pop('experiment_name')
    cfg.test_evaluator = cfg.val_evaluator = dict(type='ltmm.LongTailMetric', topk=(1,))
    cfg.dump(tmp_path / 'ce.py')

    def child(name, last_stage=dict(type='ltmm.TrainStage'), **settings):
        other = Config(cfg.to_dict())
        other.merge_from_dict(settings)
        other.stages = [dict(type='ltmm.TrainStage', config=str(tmp_path / 'ce.py')), last_stage]
        other.dump(tmp_path / f'{name}.py')
        return tmp_path / f'{name}.py'

    def post_process(**settings):
        return dict(type='ltmm.PostProcessStage', **settings)

    sampler = dict(_delete_=True, type='ltmm.ClassAwareSampler', num_samples_per_class=1)
    no_training = dict.fromkeys(('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'))
    means = dict(head=dict(classifier=dict(type='ltmm.NearestMean')))
    search = dict(step=dict(type='ltmm.TauNorm'), search=dict(val_images=12))
    return dict(
        ce=tmp_path / 'ce.py',
        crt=child('crt', custom_hooks=[*cfg.custom_hooks, LOAD, FREEZE], train_dataloader=dict(sampler=sampler)),
        tau=child('tau', post_process(**search), **no_training),
        ncm=child('ncm', post_process(step=dict(type='ltmm.NearestClassMean')), model=means, **no_training),
    )


def state(path) -> dict:
    return torch.load(path, weights_only=True)['state_dict']


def test_crt_trains_a_new_classifier_on_frozen_features(configs, tmp_path, capsys):
    last = run(configs['crt'], tmp_path / 'work')
    assert last == tmp_path / 'work/stage2_crt/epoch_2.pth'
    first = state(tmp_path / 'work/stage1_ce/epoch_2.pth')
    second, begun = state(last), state(tmp_path / 'work/stage2_crt/epoch_1.pth')
    for name, value in first.items():
        if name.startswith('backbone.') and name.endswith(('weight', 'bias')):
            assert torch.equal(second[name], value)
    assert not torch.equal(second['head.fc.weight'], begun['head.fc.weight'])
    lines = capsys.readouterr().out
    assert 'stage1_ce: starts\n' in lines
    assert re.search(r'stage2_crt: starts from .*stage1_ce/epoch_2.pth', lines)


def test_complete_stages_are_skipped(configs, tmp_path, capsys):
    last = run(configs['crt'], tmp_path / 'work')
    written = last.stat().st_mtime_ns
    capsys.readouterr()
    assert run(configs['crt'], tmp_path / 'work') == last
    assert last.stat().st_mtime_ns == written
    assert 'starts' not in capsys.readouterr().out


@pytest.mark.parametrize('stage', [1, 2])
def test_resume_in_any_stage_is_exact(configs, tmp_path, stage):
    straight = run(configs['crt'], tmp_path / 'straight')
    run_and_stop(configs['crt'], tmp_path / 'stopped', stage, at_iter=7)  # in the second epoch
    resumed = run(configs['crt'], tmp_path / 'stopped')
    torch.testing.assert_close(state(resumed), state(straight), rtol=0, atol=0)


@pytest.mark.slow
def test_resume_before_the_first_checkpoint_of_a_stage(configs, tmp_path):
    straight = run(configs['crt'], tmp_path / 'straight')
    run_and_stop(configs['crt'], tmp_path / 'stopped', stage=2, at_iter=2)
    assert not list((tmp_path / 'stopped/stage2_crt').glob('*.pth'))
    torch.testing.assert_close(state(run(configs['crt'], tmp_path / 'stopped')), state(straight), rtol=0, atol=0)


@pytest.mark.slow
def test_first_stage_given(configs, tmp_path):
    first = run(configs['crt'], tmp_path / 'one').parents[1] / 'stage1_ce/epoch_2.pth'
    last = run(configs['crt'], tmp_path / 'two', first=first)
    assert not list((tmp_path / 'two/stage1_ce').glob('*.pth'))
    torch.testing.assert_close(state(last), state(tmp_path / 'one/stage2_crt/epoch_2.pth'), rtol=0, atol=0)


def test_first_stage_of_another_width_is_refused(configs, tmp_path):
    cfg = Config.fromfile(configs['ce'])
    cfg.merge_from_dict({'model.backbone.channels': (4, 4, 12), 'model.head.in_channels': 12})
    wider = MODELS.build(cfg.model)
    torch.save(dict(state_dict=wider.state_dict()), tmp_path / 'wider.pth')
    message = r'backbone.layer3\S+, \(8, .* checkpoint with shape \(12, '
    with pytest.raises(ValueError, match=message):
        run(configs['crt'], tmp_path / 'work', first=tmp_path / 'wider.pth')


@pytest.mark.parametrize('name', ['tau', 'ncm'])
def test_post_process_stage(configs, tmp_path, name):
    last = run(configs[name], tmp_path / 'work')
    assert last == tmp_path / 'work/stage2_post_process/post_processed.pth'
    link_result(last, tmp_path / 'work')
    cfg = Config.fromfile(configs[name])
    cfg.update(work_dir=str(tmp_path / 'test'), load_from=str(tmp_path / 'work/post_processed.pth'))
    figures = Runner.from_cfg(cfg).test()  # the config of the last stage is that of its checkpoint
    assert figures['long_tail/balanced_accuracy'] > 40
    written = last.stat().st_mtime_ns
    run(configs[name], tmp_path / 'work')
    assert last.stat().st_mtime_ns == written


def test_overrides_of_all_stages_or_one(configs, tmp_path):
    last = run(configs['crt'], tmp_path / 'work', 'optim_wrapper.optimizer.lr=0.05', 'stage2.train_cfg.max_epochs=1')
    assert last.name == 'epoch_1.pth'
    for folder, epochs in (('stage1_ce', 2), ('stage2_crt', 1)):
        cfg = Config.fromfile(next((tmp_path / 'work' / folder).glob('*.py')))
        assert (cfg.optim_wrapper.optimizer.lr, cfg.train_cfg.max_epochs) == (0.05, epochs)


def test_missing_checkpoint(configs, tmp_path):
    run_and_stop(configs['crt'], tmp_path / 'work', stage=2, at_iter=2)
    for path in (tmp_path / 'work/stage1_ce').glob('*.pth'):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r'stage1_ce: its checkpoint .*epoch_2.pth is gone.*--first-stage'):
        run(configs['crt'], tmp_path / 'work')
    with pytest.raises(FileNotFoundError, match='checkpoint of the first stage .*nowhere.pth does not exist'):
        run(configs['crt'], tmp_path / 'work', first=tmp_path / 'nowhere.pth')


def test_resume_with_another_config_is_refused(configs, tmp_path):
    run_and_stop(configs['crt'], tmp_path / 'work', stage=1, at_iter=7)
    message = r'stage1_ce was started in .* another config \(-\)(?s:.*)"lr": 0.1(?s:.*)"lr": 0.3'
    with pytest.raises(ValueError, match=message):
        run(configs['crt'], tmp_path / 'work', 'optim_wrapper.optimizer.lr=0.3')


@pytest.mark.slow
def test_moved_work_dir(configs, tmp_path):
    run_and_stop(configs['crt'], tmp_path / 'old', stage=1, at_iter=7)
    shutil.move(tmp_path / 'old', tmp_path / 'new')
    straight = run(configs['crt'], tmp_path / 'straight')
    torch.testing.assert_close(state(run(configs['crt'], tmp_path / 'new')), state(straight), rtol=0, atol=0)


@pytest.mark.parametrize(
    ('config', 'option', 'error'),
    [
        ('ce', (), 'to have stages = .* with tools/train.py'),
        ('crt', ('stage3.train_cfg.max_epochs=1',), "override of stage1 to stage2, but got 'stage3.train_cfg"),
        ('crt', ('stages.1.type=Unknown',), 'no stage type=.Unknown'),
        ('crt', ('stage2.modle.x=1',), "Stage 2, .*crt.py: .* the config has no 'modle'"),
        (
            'crt',
            ('stage2.model.teacher_checkpoint=stage://stage9',),
            r"no earlier stage has the name stage9, only \['ce'\]",
        ),
    ],
)
def test_wrong_calls_are_refused(configs, tmp_path, config, option, error):
    with pytest.raises(ValueError, match=error):
        run(configs[config], tmp_path / 'work', *option)


def test_training_alone_what_needs_another_stage():
    config = Path(__file__).parents[3] / 'configs/cifar100_lt/ride_distill_r32.py'
    cfg = Config.fromfile(config)
    with pytest.raises(InputError, match='ride_distill_r32.py needs stage://teacher, .*tools/train_stages.py'):
        check_needs_no_stage(cfg)
    cfg.model.teacher_checkpoint = 'teacher.pth'
    check_needs_no_stage(cfg)


def test_training_alone_what_is_to_be_pretrained():
    config = Path(__file__).parents[3] / 'configs/cifar100_lt_noisy/rcal_r32.py'
    cfg = Config.fromfile(config)
    with pytest.raises(InputError, match='rcal_r32.py starts from a backbone that another stage trains.*load_from='):
        check_needs_no_stage(cfg)
    cfg.load_from = 'moco.pth'
    check_needs_no_stage(cfg)


def test_stage_without_config_needs_a_stage_before_it(configs, tmp_path):
    cfg = Config.fromfile(configs['tau'])
    cfg.stages = cfg.stages[1:]
    cfg.dump(tmp_path / 'wrong.py')
    with pytest.raises(ValueError, match='PostProcessStage needs a `config` or a stage before it'):
        run(tmp_path / 'wrong.py', tmp_path / 'work')


def test_settings_of_a_stage_can_be_overridden(configs, tmp_path):
    args = [str(configs['tau']), '--work-dir', str(tmp_path), '--cfg-options', 'stages.1.search.val_images=7']
    train, post_process = read_stages(common_parser('').parse_args(args))
    assert post_process.search == dict(val_images=7) and post_process.cfg.model == train.cfg.model


def test_features_of_one_stage_train_the_classifier_of_the_next(configs, tmp_path):
    cfg = Config.fromfile(configs['ce'])
    cfg.merge_from_dict({'model.backbone': dict(_delete_=True, type='ltmm.IdentityBackbone')})
    cfg.model.data_preprocessor = dict(num_classes=3)
    for split in ('train', 'val', 'test'):
        loader, data_root = cfg[f'{split}_dataloader'], 'stage://feature_extraction'
        loader.collate_fn = dict(type='ltmm.collate_features')
        options = dict(split='train') if split == 'train' else dict(split='test', test_mode=True)
        loader.dataset = dict(type='ltmm.FeatureDataset', data_root=data_root, **options)
    extraction = dict(type='ltmm.FeatureExtractionStage', splits=['train', 'test'])
    cfg.stages = [dict(type='ltmm.TrainStage', config=str(configs['ce'])), extraction, dict(type='ltmm.TrainStage')]
    cfg.dump(tmp_path / 'classifier.py')
    last = run(tmp_path / 'classifier.py', tmp_path / 'work')
    assert last == tmp_path / 'work/stage3_classifier/epoch_2.pth'
    files = tmp_path / 'work/stage2_feature_extraction/features'
    assert len(list(files.glob('*.npy'))) == 4
    (files / 'test_info.json').unlink()
    stages = read_stages(common_parser('').parse_args([str(tmp_path / 'classifier.py'), '--work-dir', str(tmp_path)]))
    assert not stages[1].is_complete


USER_MODULE = """
import json
from dataclasses import dataclass
import torch
from ltmm.engine.stages import Stage
from ltmm.registry import STAGES

@STAGES.register_module()
@dataclass(kw_only=True)
class ClassNormStage(Stage):
    power: float = 1.0
    source: str | None = None

    @property
    def result(self):
        return self.folder / 'norms.json'

    def next_checkpoint(self, previous):
        return previous

    def run(self, previous):
        weight = torch.load(previous, weights_only=True)['state_dict']['head.fc.weight']
        norms = weight.norm(dim=1).pow(self.power).tolist()
        self.result.write_text(json.dumps(dict(norms=norms, source=self.source, name=self.cfg.model.type)))
"""


def test_stage_of_a_user_is_a_new_file_only(configs, tmp_path, monkeypatch):
    """It is imported by the config, gets its settings, the checkpoint and earlier results, and is skipped once done."""
    (tmp_path / 'user_stages.py').write_text(USER_MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    cfg = Config.fromfile(configs['crt'])
    cfg.custom_imports = dict(imports=['user_stages'])
    cfg.stages[1:1] = [
        dict(type='ClassNormStage', power=2.0),
        dict(type='ClassNormStage', name='again', source='stage://class_norm'),
    ]
    cfg.dump(tmp_path / 'crt_norms.py')
    last = run(tmp_path / 'crt_norms.py', tmp_path / 'work')
    assert last == tmp_path / 'work/stage4_crt_norms/epoch_2.pth'
    first, again = (tmp_path / 'work' / name / 'norms.json' for name in ('stage2_class_norm', 'stage3_again'))
    weight = state(tmp_path / 'work/stage1_ce/epoch_2.pth')['head.fc.weight']
    assert json.loads(first.read_text())['norms'] == pytest.approx(weight.square().sum(1).tolist())
    assert json.loads(again.read_text())['source'] == str(first)
    written = again.stat().st_mtime_ns
    first.unlink()  # as if only later stages were left to run
    again.unlink()
    shutil.rmtree(tmp_path / 'work/stage4_crt_norms')
    assert run(tmp_path / 'crt_norms.py', tmp_path / 'work') == last
    assert again.stat().st_mtime_ns > written
    with pytest.raises(ValueError, match=r'stage2_class_norm was started .* with another config(?s:.*)"power": 3.0'):
        run(tmp_path / 'crt_norms.py', tmp_path / 'work', 'stages.1.power=3.0')


@pytest.mark.slow
def test_from_the_command_line_to_the_test(configs, tmp_path):
    work = tmp_path / 'work'
    args = ('tools/train_stages.py', configs['crt'], '--work-dir', work, '--amp', '--resume')
    train = run_tool(*args, '--cfg-options', 'train_cfg.max_epochs=1')
    assert train.returncode == 0, train.stderr[-2000:]
    assert (work / 'last_checkpoint').read_text() == str(work / 'epoch_1.pth')
    assert 'ltmm.CPUAmpOptimWrapper' in (work / 'stage2_crt/crt.py').read_text()
    test = run_tool('tools/test.py', configs['crt'], work / 'epoch_1.pth', '--work-dir', tmp_path / 'test')
    assert test.returncode == 0, test.stderr[-2000:]
    missing = run_tool(*args[:4], '--first-stage', 'nowhere.pth')
    assert missing.returncode and 'Traceback' not in missing.stderr
    assert 'nowhere.pth does not exist' in missing.stderr.splitlines()[-1]


def test_stage_that_does_not_write_its_result_is_named(configs, tmp_path):
    @STAGES.register_module(force=True)
    @dataclass(kw_only=True)
    class LazyStage(Stage):
        result = tmp_path / 'never.pth'

        def run(self, previous):
            pass

    cfg = Config.fromfile(configs['crt'])
    cfg.stages = [dict(type='LazyStage', config=str(configs['crt']))]
    cfg.dump(tmp_path / 'lazy.py')
    try:
        with pytest.raises(ValueError, match=r'LazyStage.run did not write .*never.pth'):
            run(tmp_path / 'lazy.py', tmp_path / 'work')
    finally:
        del STAGES.module_dict['LazyStage']


@pytest.mark.parametrize(
    'stage, hint', [(dict(type='ltmm.TrainStag'), 'Did you mean ltmm.TrainStage'), (dict(), 'None')]
)
def test_unknown_stage_is_named(configs, tmp_path, stage, hint):
    cfg = Config.fromfile(configs['crt'])
    cfg.stages = [stage]
    cfg.dump(tmp_path / 'unknown.py')
    with pytest.raises(ValueError, match=f'There is no stage type=.*{hint}'):
        run(tmp_path / 'unknown.py', tmp_path / 'work')
