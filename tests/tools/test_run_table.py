import fcntl
import json
import os
import runpy
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
import yaml
from toy import ROOT, toy_config
from toy_processes import run_program

from ltmm.experiments import recipes, running, tables
from ltmm.experiments import run as run_module

SCRIPT = ROOT / 'tools/analysis_tools/run_table.py'


@pytest.fixture(scope='module')
def tool():
    """The functions of the tool and of the modules behind it."""
    found = {}
    for module in (run_module, running, recipes, tables):
        found |= vars(module)
    return SimpleNamespace(**found | runpy.run_path(str(SCRIPT)))


def write_config(path, **overrides):
    metric = dict(type='ltmm.LongTailMetric', topk=(1,), thresholds=(30, 10))
    cfg = toy_config(path, train_cfg=dict(max_epochs=2), val_evaluator=metric, test_evaluator=metric, **overrides)
    cfg.pop('work_dir'), cfg.pop('experiment_name')
    cfg.dump(path)
    return path


@pytest.fixture
def config(tmp_path):
    return write_config(tmp_path / 'balanced.py')


def plan(tool, *args):
    return tool.plan(tool.parse_args(list(map(str, args))))


def complete(run, top1, **record):
    names = ('top1', 'many', 'medium', 'balanced_accuracy', 'harmonic_mean', 'geometric_mean', 'lowest_recall')
    metrics = {f'long_tail/{name}': top1 for name in names}
    run.save(
        'complete',
        **{
            'time_is_lower_bound': False,
            'epochs': '2',
            'date': '2026-01-02',
            'hardware': 'CPU, 2 cores',
            'commit': 'abc1234',
        },
        metrics=metrics | {'long_tail/few': -1.0},
    )
    run.record |= dict(seconds=90.0) | record


def rows_of(text):
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines()]


def test_config_with_references_and_early_stopping(tool, config, tmp_path):
    hook = "dict(type='ltmm.EarlyStoppingHook', monitor='long_tail/top1', rule='greater')"
    text = config.read_text().replace('max_epochs=2', "max_epochs='${epochs}'")
    (tmp_path / 'mine.py').write_text(f'{text}\nepochs = 2\ncustom_hooks.append({hook})\n')
    options = ('--seeds', 0, '--work-dir', tmp_path / 'work', '--cfg-options', 'epochs=5')
    run, whole = (plan(tool, path, *options)[0] for path in (tmp_path / 'mine.py', config))
    assert run.length == (5, 'epoch') and whole.length == (2, 'epoch')
    for each in (run, whole):
        each.folder.mkdir(parents=True)
        (each.folder / 'last_checkpoint').write_text('epoch_1.pth')
    assert running.problem_of(run, 0) is None
    assert 'is of epoch 1 of 2' in running.problem_of(whole, 0)


def test_table_and_record(tool, config, tmp_path):
    other = write_config(tmp_path / 'plain.py')
    runs = plan(tool, config, other, '--seeds', 0, 1, 2, '--work-dir', tmp_path / 'work')
    for run, top1 in zip(runs, (50.0, 52.0, 54.0)):
        complete(run, top1)
    runs[1].record |= dict(commit='def5678', seconds=150.0)
    complete(runs[3], 61.25, time_is_lower_bound=True)
    runs[4].save('failed')
    columns = tool.columns(runs) | {'ECE': 'calibration/ece'}
    head, _, balanced, plain = rows_of(tool.table(runs, columns))
    balanced, plain = dict(zip(head, balanced)), dict(zip(head, plain))
    assert head[:10] == ['method', 'top1', 'many', 'medium', 'few', 'balanced', 'HM', 'GM', 'lowest', 'ECE']
    assert balanced['top1'] == balanced['HM'] == balanced['GM'] == balanced['lowest'] == '52.00 ± 2.00'
    assert balanced['few'] == balanced['ECE'] == '-'
    assert [balanced[key] for key in ('seeds', 'epochs', 'time')] == ['0, 1, 2', '2', '0:01:50']
    assert balanced['commit'] == 'abc1234, def5678'
    assert [plain[key] for key in ('top1', 'seeds', 'time')] == ['61.25', '0', '≥ 0:01:30']
    (record,) = yaml.safe_load(tool.record(runs, columns, 'python ...'))
    assert record['rows'] == {row['method']: [row[title] for title in columns] for row in (balanced, plain)}
    assert record['seeds'] == '0, 1, 2' and record['schedule'] == '2 epochs' and record['date'] == '2026-01-02'
    assert record['hardware'] == 'CPU, 2 cores, commit abc1234, def5678' and record['command'] == 'python ...'


def test_runs_of_other_classes_are_not_ranked(tool, config, tmp_path):
    runs = plan(tool, config, write_config(tmp_path / 'plain.py'), '--seeds', 0, '--work-dir', tmp_path / 'work')
    for run, name in zip(runs, ('bus', 'dog')):
        complete(run, 50.0)
        text = f'label,name,train_images,shot,test_images,recall,precision,f1\n0,{name},9,few,2,50.0,50.0,50.0\n'
        (run.folder / 'per_class.csv').write_text(text)
    with pytest.raises(ValueError, match='only in balanced: bus; only in plain: dog'):
        tool.check_classes(runs)
    tool.check_classes(runs[:1])
    plain = (runs[0].folder / 'per_class.csv').read_text()
    (runs[1].folder / 'final').mkdir()
    (runs[1].folder / 'final/per_class.csv').write_text(plain)  # a stage had other classes, the last test these
    os.utime(runs[1].folder / 'per_class.csv', (1, 1))
    tool.check_classes(runs)


@pytest.mark.parametrize(
    'evaluator, titles',
    [
        ('ltmm.MultiLabelMetric', ['mAP', 'head', 'medium', 'tail']),
        ('ltmm.LVISMetric', ['AP', 'AP50', 'AP75', 'APr', 'APc', 'APf', 'AP_fixed']),
        ('Accuracy', []),
    ],
)
def test_columns(tool, tmp_path, evaluator, titles):
    config = write_config(tmp_path / 'other.py')
    (run,) = plan(
        tool, config, '--seeds', 0, '--work-dir', tmp_path, '--cfg-options', f'test_evaluator.type={evaluator}'
    )
    assert list(tool.columns([run])) == titles


def test_more_columns(tool, config, tmp_path):
    (run,) = plan(tool, config, '--seeds', 0, '--work-dir', tmp_path)
    found = tool.columns([run], ['calibration/ece', 'expert/top1', 'long_tail/few'])
    assert found['ece'] == 'calibration/ece' and found['few'] == 'long_tail/few'
    assert (found['top1'], found['expert/top1']) == ('long_tail/top1', 'expert/top1')  # no column takes another's place


def test_lvis_in_percent(tool, config, tmp_path):
    (run,) = plan(tool, config, '--seeds', 0, '--work-dir', tmp_path)
    complete(run, 50.0)
    run.record['metrics'] = {'lvis/bbox_AP': 0.1234, 'lvis/bbox_APr': -1.0}
    _, _, row = rows_of(tool.table([run], dict(AP='lvis/bbox_AP', APr='lvis/bbox_APr')))
    assert row[1:3] == ['12.34', '-']


def test_row_without_complete_run(tool, config, tmp_path):
    other = write_config(tmp_path / 'plain.py')
    runs = plan(tool, config, other, '--seeds', 0, '--work-dir', tmp_path / 'work')
    runs[0].save('failed')
    assert [row[:3] for row in rows_of(tool.table(runs, tool.columns(runs)))[2:]] == [
        ['balanced', 'failed', '-'],
        ['plain', 'not run', '-'],
    ]


def test_changed_config_is_not_complete(tool, config, tmp_path):
    args = (config, '--seeds', 0, '--work-dir', tmp_path / 'work')
    complete(plan(tool, *args)[0], 50.0)
    assert plan(tool, *args)[0].is_complete
    changed = plan(tool, *args, '--cfg-options', 'optim_wrapper.optimizer.lr=1.0')[0]
    assert not changed.is_complete
    assert f'its config has changed since it was started: delete {changed.folder}' in tool.begin(changed)
    assert json.loads((changed.folder / 'run.json').read_text())['state'] == 'complete'


def test_overrides(tool, config, tmp_path):
    args = (config, '--seeds', 7, '--work-dir', tmp_path, '--cfg-options', 'train_cfg.max_epochs=5')
    (run,) = plan(tool, *args)
    assert run.length == (5, 'epoch')
    script, *rest = run.command
    assert script == str(ROOT / 'tools/train.py')
    assert rest[1:] == [
        *('--resume', '--work-dir', str(tmp_path / 'balanced/seed_7')),
        *('--cfg-options', 'train_cfg.max_epochs=5', 'randomness.seed=7'),
    ]


def test_time_over_interruptions(tool, config, tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, 'time', lambda: now[0])
    args = (config, '--seeds', 0, '--work-dir', tmp_path / 'work')
    (run,) = plan(tool, *args)
    assert tool.begin(run) is None
    now[0] += 30
    run.save('interrupted')
    (run,) = plan(tool, *args)
    now[0] += 1000  # idle
    tool.begin(run)
    now[0] += 12
    run.save('interrupted')
    assert (run.record['seconds'], run.record['time_is_lower_bound']) == (42, False)
    tool.begin(run)
    (run,) = plan(tool, *args)  # killed while it ran
    tool.begin(run)
    assert run.record['time_is_lower_bound']


def test_short_training_is_a_problem(tool, config, tmp_path):
    (run,) = plan(tool, config, '--seeds', 0, '--work-dir', tmp_path / 'work')
    run.folder.mkdir(parents=True)
    (run.folder / 'last_checkpoint').write_text(str(run.folder / 'epoch_1.pth'))
    assert tool.problem_of(run, 0).endswith('is of epoch 1 of 2')
    run.cfg.custom_hooks = [*run.cfg.custom_hooks, dict(type='ltmm.EarlyStoppingHook', monitor='long_tail/top1')]
    assert tool.problem_of(run, 0) is None
    (run.folder / 'last_checkpoint').unlink()
    assert tool.problem_of(run, 0).endswith('is of epoch 0 of 2')
    run.cfg.custom_hooks.pop()
    (run.folder / 'last_checkpoint').write_text(str(run.folder / 'epoch_2.pth'))
    assert tool.problem_of(run, 0) is None


def test_fraction_while_the_name_of_the_checkpoint_is_written(tool, config, tmp_path, monkeypatch):
    (run,) = plan(tool, config, '--seeds', 0, '--work-dir', tmp_path / 'work')
    trained = iter([[1], []])  # the second is what a moment later is read
    monkeypatch.setattr(type(run), 'trained', property(lambda self: next(trained)))
    assert [tool.fraction(run), tool.fraction(run)] == [0.99 / run.length[0], 0]


def test_problem(tool, config, tmp_path):
    (run,) = plan(tool, config, '--seeds', 0, '--work-dir', tmp_path / 'work')
    run.folder.mkdir(parents=True)
    (run.folder / 'output.log').write_text('Traceback ...\nValueError: no such loss\n\n')
    assert tool.problem_of(run, 1) == f'ValueError: no such loss ({run.folder}/output.log)'
    assert tool.problem_of(run, -9).startswith('killed by signal 9 (')


TWO_STAGES = """
_base_ = './balanced.py'
stages = [dict(type='ltmm.TrainStage', config='{first}'), dict(type='ltmm.TrainStage')]
train_cfg = dict(max_epochs=1)
custom_hooks = [dict(type='ltmm.ClassDistributionHook')]
model = dict(head=dict(loss=dict(_delete_=True, type='CrossEntropyLoss')))
"""


@pytest.fixture
def staged(config, tmp_path):
    path = tmp_path / 'staged.py'
    path.write_text(TWO_STAGES.format(first=config))
    return path


def test_first_stage_of_another_row(tool, config, staged, tmp_path):
    args = ('--seeds', 5, '--work-dir', tmp_path / 'work')
    run, first = plan(tool, staged, config, *args)
    assert run.first_stage is first
    assert '--first-stage' not in run.command
    first.folder.mkdir(parents=True)
    torch.save({}, first.folder / 'epoch_2.pth')
    (first.folder / 'last_checkpoint').write_text('/elsewhere/epoch_2.pth')
    complete(first, 50.0)
    expected = ['--first-stage', str(first.folder / 'epoch_2.pth')]
    assert run.command[:4] == [str(ROOT / 'tools/train_stages.py'), str(staged), *expected]
    assert run.progress == '2 (balanced)'
    (alone,) = plan(tool, staged, *args)  # no row, but its checkpoint exists
    assert alone.command[2:4] == expected
    (other,) = plan(tool, staged, *args, '--cfg-options', 'stage1.train_cfg.max_epochs=9')
    assert '--first-stage' not in other.command


@pytest.mark.parametrize('stage', ["'ltmm.TrainStage'", "'ltmm.FeatureExtractionStage', config='{first}'"])
def test_no_first_stage_to_share(tool, config, tmp_path, stage):
    path = tmp_path / 'staged.py'
    path.write_text(f"_base_ = './balanced.py'\nstages = [dict(type={stage.format(first=config)})]\n")
    run, _ = plan(tool, path, config, '--seeds', 0, '--work-dir', tmp_path / 'work')
    assert run.first_stage is None and run.fingerprint


def test_changed_first_stage_is_not_complete(tool, config, staged, tmp_path):
    args = (staged, '--seeds', 0, '--work-dir', tmp_path / 'work')
    complete(plan(tool, *args)[0], 50.0)
    assert plan(tool, *args)[0].is_complete
    config.write_text(config.read_text().replace('lr=0.1', 'lr=0.2'))
    assert not plan(tool, *args)[0].is_complete


@pytest.mark.parametrize(
    ('args', 'message'),
    [
        (['{config}', '{config}'], 'ValueError: Expected configs of different names, but two are called balanced'),
        (['nowhere.py'], 'FileNotFoundError: .*nowhere.py'),
        (
            ['{config}', '--no-run', '--cfg-options', 'a=(1,2'],
            'ValueError: .*balanced.py: its settings do not fit .*: a=.1,2',
        ),
        (['{config}', '--no-run', '--work-dir', '{work_dir}'], '--no-run: none of the 3 runs is complete in .*empty'),
        (['{config}', '--compare', 'tpo1'], 'InputError: --compare: there is no column tpo1. Did you mean top1'),
        (
            ['{config}', '--compare', 'top1'],
            'InputError: --compare: expected two methods or more, but got balanced only',
        ),
        (
            ['{config}', '--cfg-options', 'test_evaluator.type=Accuracy'],
            'InputError: The test_evaluators of these configs have no columns here',
        ),
    ],
)
def test_bad_arguments(tool, config, tmp_path, args, message):
    with pytest.raises(SystemExit, match=message):
        tool.main([arg.format(config=config, work_dir=tmp_path / 'empty') for arg in args])
    assert not (tmp_path / 'empty').exists()


@pytest.fixture
def recipe(tmp_path, staged):
    path = tmp_path / 'recipe.yml'
    content = dict(
        all={'val_dataloader.num_workers': 0},
        training={'train_cfg.max_epochs': 3, 'optim_wrapper.optimizer.betas': [0.9, 0.99]},
        methods={'balanced': None, 'staged': {'stage2.train_cfg.max_epochs': 4, 'stage2.val_dataloader.batch_size': 7}},
    )
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_recipe(tool, recipe, config, tmp_path):
    args = ('--recipe', recipe, '--seeds', 1, '--work-dir', tmp_path / 'work', '--amp')
    run, staged = plan(tool, *args, '--cfg-options', 'val_cfg.fp16=True')
    settings = ['val_dataloader.num_workers=0', 'train_cfg.max_epochs=3', 'optim_wrapper.optimizer.betas=[0.9,0.99]']
    assert run.config == config and run.length == (3, 'epoch')
    assert '--amp' in run.command
    assert run.command[run.command.index('--cfg-options') + 1 : -1] == [*settings, 'val_cfg.fp16=True']
    assert [option for option in staged.options if option.startswith('stage')] == [
        'stage1.train_cfg.max_epochs=3',
        'stage1.optim_wrapper.optimizer.betas=[0.9,0.99]',
        'stage2.train_cfg.max_epochs=4',
        'stage2.val_dataloader.batch_size=7',
    ]
    assert tool.of_stage(staged.options, 2) == [
        'val_dataloader.num_workers=0',
        'train_cfg.max_epochs=4',
        'val_dataloader.batch_size=7',
        'val_cfg.fp16=True',
    ]
    (alone,) = plan(tool, tmp_path / 'staged.py', *args)  # its first stage is trained under the recipe too
    assert alone.first_stage.length == (3, 'epoch')


def test_recipe_reaches_teachers_and_their_student(tool, recipe, staged, tmp_path):
    text = staged.read_text().replace('ltmm.TrainStage', 'ltmm.TeacherStage', 1)
    staged.write_text(text)
    _, taught = plan(tool, '--recipe', recipe, '--work-dir', tmp_path / 'work', '--seeds', 0)
    own = tool.parsed(taught.options)
    assert [own[f'stage{number}.train_cfg.max_epochs'] for number in (1, 2)] == [3, 4]
    assert own['stage2.optim_wrapper.optimizer.betas'] == [0.9, 0.99]


def test_first_stage_of_its_own_under_a_recipe(tool, recipe, tmp_path):
    text = recipe.read_text()
    for number, is_shared in ((3, True), (4, False)):  # as all and as it alone
        recipe.write_text(text.replace('stage2.train_cfg.max_epochs: 4', f'stage1.train_cfg.max_epochs: {number}'))
        _, staged = plan(tool, '--recipe', recipe, '--work-dir', tmp_path / 'work', '--seeds', 0)
        assert (staged.first_stage is not None) == is_shared
        assert tool.parsed(staged.options)['stage1.train_cfg.max_epochs'] == number


def test_setting_taken_back(tool, recipe, tmp_path):
    recipe.write_text(recipe.read_text().replace('balanced: null', 'balanced: {train_cfg.max_epochs: null}'))
    run, staged = plan(tool, '--recipe', recipe, '--work-dir', tmp_path / 'work', '--seeds', 0)
    assert run.length == (2, 'epoch') and staged.first_stage is None


def test_cost(tool, config, staged, tmp_path):
    run, other = plan(tool, config, staged, '--seeds', 0, '--work-dir', tmp_path / 'work')
    complete(other, 50.0, cpu_seconds=10.0)
    assert tool.values([other], 'cost') == []  # the baseline is not complete
    complete(run, 50.0, cpu_seconds=40.0)
    assert tool.values([run], 'cost') == [1.0]
    assert tool.values([other], 'cost') == [1.25]  # with its first stage


def test_cost_of_a_first_stage_of_its_own(tool, config, staged, tmp_path):
    run, other = plan(tool, config, staged, '--seeds', 0, '--work-dir', tmp_path / 'work')
    run.save('failed')
    tool.begin(other)  # trains its first stage itself
    complete(run, 50.0, cpu_seconds=40.0)
    assert '--first-stage' not in other.command  # nor when it is resumed
    complete(other, 50.0, cpu_seconds=60.0)
    assert tool.values([other], 'cost') == [1.5]


def test_unit_of_the_cost_under_a_recipe(tool, recipe, config, staged, tmp_path):
    args = ('--recipe', recipe, '--seeds', 0, '--work-dir', tmp_path / 'work')
    (alone,) = plan(tool, staged, *args)
    assert alone.baseline.name == 'balanced' and alone.baseline.length == (3, 'epoch')
    run, other = plan(tool, staged, config, *args)
    assert run.baseline is other.baseline is other
    assert plan(tool, staged, config, *args[2:])[1].baseline.name == 'staged'


def test_points(tool, config, tmp_path):
    runs = plan(tool, config, write_config(tmp_path / 'plain.py'), '--seeds', 0, 1, '--work-dir', tmp_path / 'work')
    for run, top1, seconds in zip(runs[:3], (50.0, 54.0, 60.0), (90.0, 30.0, 180.0)):
        complete(run, top1, seconds=seconds)
    assert tool.points(runs) == dict(balanced=(1.0, 52.0, pytest.approx(8**0.5)), plain=(2.0, 60.0, 0.0))


def test_cost_is_the_whole_time_unless_all_runs_have_a_cpu_time(tool, config, staged, tmp_path):
    plain = write_config(tmp_path / 'plain.py')
    unit, run, other = plan(tool, plain, config, staged, '--seeds', 0, '--work-dir', tmp_path / 'work')
    for part, seconds in ((unit, 200.0), (run, 150.0), (other, 50.0)):
        complete(part, 50.0, cpu_seconds=seconds / 10 if part is run else 1.0, seconds=seconds)
    assert tool.values([other], 'cost') == [16.0]
    for part in (unit, run, other):
        cpu_seconds = part.record.pop('cpu_seconds')  # as on a GPU
        assert tool.values([other], 'cost') == [1.0]
        part.record['cpu_seconds'] = cpu_seconds


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{}', 'expected `methods`'),
        ('methods: {a: }\nal: {b: 1}', 'al'),
        ('- a', 'expected `methods`'),
        ('all: {a: [', 'is no YAML file'),
        ('methods: [a]', r"expected `methods` to hold lines KEY: VALUE, but got \['a'\]"),
        ('methods: {a: depth8}', "expected `a` to hold lines KEY: VALUE, but got 'depth8'"),
        ('methods: {a: }\nall: [1]', r'expected `all` to hold lines KEY: VALUE, but got \[1\]'),
        ('methods: {a: {b: 1e-4}}', "got '1e-4'. YAML takes 1e-4 for text"),
        ('methods: {a: {model.head.loss: {type: b}}}', "model.head.loss to be .* but got {'type': 'b'}"),
        ('methods: {a: }\nall: {b: two words}', "b to be .* but got 'two words'"),
        ('methods: {a: {b: "(a,b"}}', r"b to be .* but got '\(a,b'"),
        ('methods: {a: }\ntraining: {b: ["a,b", 1]}', r"b to be .* but got \['a,b', 1\]"),
    ],
)
def test_bad_recipe(tool, tmp_path, content, message):
    (tmp_path / 'recipe.yml').write_text(content)
    with pytest.raises(SystemExit, match=message):
        tool.main(['--recipe', str(tmp_path / 'recipe.yml')])


def test_recipe_in_another_encoding(tool, tmp_path):
    (tmp_path / 'recipe.yml').write_bytes('methods: {größe: }'.encode('latin-1'))
    with pytest.raises(SystemExit, match='DataFileError: .*recipe.yml'):
        tool.main(['--recipe', str(tmp_path / 'recipe.yml')])


# ---------------------------------------------------------------------- real runs


def run_table(*args):
    return run_program(SCRIPT, *args)


@pytest.mark.slow
def test_failed_and_complete_runs(config, tmp_path):
    broken = write_config(tmp_path / 'broken.py', **{'model.head.num_classes': 4})
    hooks = [dict(type='ltmm.ClassDistributionHook'), dict(type='ltmm.StopHook', at_iter=3, kill=True)]
    killed = write_config(tmp_path / 'killed.py', custom_hooks=hooks)
    args = (broken, killed, config, '--seeds', 0, '--work-dir', tmp_path / 'work')
    first = run_table(*args)
    assert first.returncode == 1
    assert '3 runs: 0 complete, 3 to go' in first.stdout
    assert '2 runs failed:' in first.stderr
    assert (
        '- broken, seed 0: ClassDistributionError: ClassDistributionHook: The training data have 3 classes'
        in first.stderr
    )
    assert '- killed, seed 0: killed by signal 9' in first.stderr
    table = [row for row in rows_of(first.stdout) if row[0] in ('broken', 'killed', 'balanced') and len(row) > 5]
    assert [row[1] for row in table[:2]] == ['failed', 'failed']
    results = json.loads((tmp_path / 'work/balanced/seed_0/run.json').read_text())
    (record,) = yaml.safe_load((tmp_path / 'work/results.yml').read_text())
    assert record['command'].startswith(f'python tools/analysis_tools/run_table.py {broken} {killed}')
    assert record['rows'] == {'balanced': table[2][1:9]}
    assert f'{results["metrics"]["long_tail/top1"]:.2f}' == table[2][1]

    folder = tmp_path / 'work/balanced/seed_0'
    times = [float(line) for line in (folder / 'cpu_seconds.txt').read_text().split()]
    assert len(times) == 2 and min(times) > 0  # of training and test
    assert results['cpu_seconds'] == pytest.approx(sum(times))

    plot = ('--cost', '--plot', tmp_path / 'cost.svg')
    again = run_table(config, '--seeds', 0, '--work-dir', tmp_path / 'work', *plot)
    assert 'in units of balanced' in (tmp_path / 'cost.svg').read_text()
    assert dict(zip(*rows_of(again.stdout.split('\n\n')[1])[::2]))['cost'] == '1.00'
    assert again.returncode == 0
    assert '1 runs: 1 complete, 0 to go' in again.stdout
    assert json.loads((tmp_path / 'work/balanced/seed_0/run.json').read_text()) == results


@pytest.mark.slow
def test_two_stages(config, staged, tmp_path):
    result = run_table(staged, config, '--seeds', 0, '--work-dir', tmp_path / 'work', '--jobs', 2)
    assert result.returncode == 0, result.stdout + result.stderr
    assert not list((tmp_path / 'work/staged/seed_0').glob('stage1*/last_checkpoint'))
    record = json.loads((tmp_path / 'work/staged/seed_0/run.json').read_text())
    assert record['epochs'] == '2 (balanced) + 1'
    assert record['metrics']['long_tail/top1'] > 0


@pytest.mark.slow
def test_continue_after_termination(tmp_path):
    config = write_config(tmp_path / 'long.py')
    folder = tmp_path / 'work/long/seed_3'
    options = ('--cfg-options', 'train_cfg.max_epochs=12')
    command = [SCRIPT, config, '--seeds', '3', '--work-dir', tmp_path / 'work', *options]
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join([str(ROOT), str(ROOT / 'tests')]), 'OMP_NUM_THREADS': '1'}
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True
    )
    while not (folder / 'last_checkpoint').exists():
        time.sleep(0.1)
        assert process.poll() is None
    with open(folder / 'run.lock') as lock, pytest.raises(BlockingIOError):  # the training holds the lock
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    process.send_signal(signal.SIGTERM)
    assert 'Terminated; the same command goes on from here' in process.communicate()[1]
    assert json.loads((folder / 'run.json').read_text())['state'] == 'interrupted'

    assert run_table(*command[1:]).returncode == 0
    assert 'resumed epoch: ' in (folder / 'output.log').read_text()
    assert json.loads((folder / 'run.json').read_text())['state'] == 'complete'
