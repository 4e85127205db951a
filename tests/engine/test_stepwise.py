"""Step-wise learning from the first stage to the last: what each stage changes, and resume in any of them."""

import json
import shutil

import pytest
import torch
from mmengine.config import Config
from toy import StopHook, Stopped
from toy_lvis import CATEGORY_IDS, lvis_content, write_lvis
from toy_processes import run_tool
from toy_stepwise import NAMES, stage_configs

from ltmm.engine.stages import first_to_run, read_stages, run_stages
from ltmm.utils.launch import build_runner
from ltmm.utils.parsers import common_parser

KINDS = pytest.mark.parametrize('configs', ['detr', 'mask_rcnn'], indirect=True)
FOLDERS = [f'stage{number}_{name}' for number, name in enumerate(NAMES, 1)]
LAST = 'epoch_2.pth'


@pytest.fixture
def configs(request, tmp_path):
    """The config of the last stage."""
    write_lvis(tmp_path / 'data', lvis_content())
    return stage_configs(tmp_path, tmp_path / 'data', detr=getattr(request, 'param', '') == 'detr')


def read(config, work_dir, *options):
    args = ['--work-dir', str(work_dir)] + (['--cfg-options', *options] if options else [])
    return read_stages(common_parser('').parse_args([str(config), *args]))


def run(config, work_dir, first=None):
    all_stages = read(config, work_dir)
    return run_stages(all_stages, first_to_run(all_stages, first), first)


def state(path) -> dict:
    checkpoint = torch.load(path, weights_only=True)
    return checkpoint['state_dict'] | checkpoint['meta'].get('class_distribution', {})


def changed(before, after) -> set[str]:
    """Parts of the model whose weights differ, by the first three parts of their names."""
    names = [name for name in before if name in after and not torch.equal(before[name], after[name])]
    return {'.'.join(name.split('.')[:3]) for name in names}


@pytest.mark.slow
@KINDS
def test_each_stage_gives_the_next_what_it_needs(configs, tmp_path, capsys):
    last = run(configs, tmp_path / 'work')
    stage0, mined, stage1, stage2 = (tmp_path / 'work' / folder for folder in FOLDERS)
    assert last == stage2 / LAST

    exemplars = json.loads((mined / 'exemplars.json').read_text())
    assert [category['id'] for category in exemplars['categories']] == list(CATEGORY_IDS)
    assert [len(category['annotation_ids']) for category in exemplars['categories']] == [4, 1, 4, 1]
    assert all(category['scores'] for category in exemplars['categories'])

    before, expert, student = (state(folder / LAST) for folder in (stage0, stage1, stage2))
    is_detr = 'encoder.layers.0.ffn.layers.1.weight' in before
    trained = {'bbox_head.cls_branches', 'neck.convs'} if is_detr else {'roi_head.bbox_head.fc_cls', 'neck.lateral'}
    for one, other in ((before, expert), (expert, student)):
        parts = changed(one, other)
        assert parts and all(any(part.startswith(name) for name in trained) for part in parts), parts
    for weights in (before, expert, student):  # the whole distribution, not that of the smooth-tail sets
        counts = [value.tolist() for name, value in weights.items() if name.endswith('image_counts')]
        assert counts and all(count == [8, 1, 3, 1] for count in counts)
    assert not any('teacher' in name for name in student)

    lines = capsys.readouterr().out
    assert f'stage2_exemplar_mining: selects exemplars with {stage0 / LAST}\n' in lines
    assert f'stage3_stage1: starts from {stage0 / LAST}\n' in lines
    assert f'stage4_stage2: starts from {stage1 / LAST}\n' in lines
    dumped = Config.fromfile(stage2 / 'stage2.py')
    assert dumped.model.teacher_checkpoint == str(stage1 / LAST)
    assert dumped.train_dataloader.dataset.exemplar_file == str(mined / 'exemplars.json')

    written = {path: path.stat().st_mtime_ns for path in (tmp_path / 'work').glob('*/epoch_*.pth')}
    assert run(configs, tmp_path / 'work') == last  # nothing is done again
    assert written == {path: path.stat().st_mtime_ns for path in written}


@pytest.mark.slow
@pytest.mark.parametrize('stage', [0, 1, 2, 3])
def test_resume_in_any_stage_is_exact(configs, tmp_path, monkeypatch, stage):
    straight = run(configs, tmp_path / 'straight')

    def build(cfg):
        runner = build_runner(cfg)
        if cfg.work_dir.endswith(FOLDERS[stage]):
            runner.register_hook(StopHook(runner.train_loop.max_iters - 1))
        return runner

    def stop(*args, **kwargs):
        raise Stopped

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        if NAMES[stage] == 'exemplar_mining':
            patch.setattr('ltmm.engine.stages.exemplar_mining.annotation_scores', stop)
        patch.setattr('ltmm.engine.stages.train_stage.build_runner', build)
        run(configs, tmp_path / 'stopped')
    assert not (tmp_path / 'stopped' / FOLDERS[stage] / straight.name).exists()
    resumed = run(configs, tmp_path / 'stopped')
    torch.testing.assert_close(state(resumed), state(straight), rtol=0, atol=0)


@pytest.mark.slow
def test_from_the_command_line_with_the_first_stage_given(configs, tmp_path):
    first = tmp_path / 'first.pth'
    one_epoch = ('train_cfg.max_epochs=1',)
    alone = run_tool(
        'tools/train.py', tmp_path / 'stage0.py', '--work-dir', tmp_path / 'a', '--cfg-options', *one_epoch
    )
    assert alone.returncode == 0, alone.stderr[-2000:]
    shutil.move(tmp_path / 'a/epoch_1.pth', first)
    args = ('tools/train_stages.py', configs, '--work-dir', tmp_path / 'work', '--first-stage', first)
    done = run_tool(*args, '--cfg-options', *one_epoch)
    assert done.returncode == 0, done.stderr[-2000:]
    assert f'stage2_exemplar_mining: selects exemplars with {first}' in done.stdout
    test = run_tool('tools/test.py', configs, tmp_path / 'work/epoch_1.pth', '--work-dir', tmp_path / 'test')
    assert test.returncode == 0, test.stderr[-2000:]
    assert 'bbox_AP' in test.stdout


def test_stage_without_the_results_of_the_others(configs, tmp_path):
    done = run_tool('tools/train.py', tmp_path / 'stage1.py', '--work-dir', tmp_path / 'work')
    assert done.returncode and 'Traceback' not in done.stderr
    message = 'needs stage://exemplar_mining, the result of an earlier stage: run tools/train_stages.py'
    assert message in done.stderr.splitlines()[-1]


def test_missing_exemplar_file(configs, tmp_path):
    all_stages = read(configs, tmp_path / 'work')
    with pytest.raises(FileNotFoundError, match=r'exemplars.json is gone, but a later stage needs it'):
        run_stages(all_stages, start=2)
