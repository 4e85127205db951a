"""The commands of docs/guides/experiments.md are accepted by their tools."""

import re
import runpy
import shlex
import subprocess
import sys

import pytest
from mmengine.config import Config
from toy import ROOT

from ltmm.experiments.sweep import read_search
from ltmm.experiments.tables import COLUMNS
from ltmm.utils.parsers import common_parser, parse_training_args

GUIDE = (ROOT / 'docs/guides/experiments.md').read_text()
BLOCKS = re.findall(r'```bash\n(.+?)```', GUIDE, re.S)
COMMANDS = [
    line.replace('CONFIGS...', 'configs/cifar100_lt/{ce,ldam_drw}_r32.py')
    for block in BLOCKS
    for line in block.replace('\\\n', ' ').splitlines()
    if line.startswith('python ')
]


def expanded(command):
    """Words of a command as bash passes them on."""
    line = f'printf "%s\\n" {command}'
    return subprocess.run(
        ['bash', '-c', line], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.splitlines()


@pytest.mark.parametrize('command', COMMANDS, ids=lambda command: shlex.split(command)[1])
def test_command(command, monkeypatch):
    tool, *args = expanded(command)[1:]
    monkeypatch.setattr(sys, 'argv', [tool, *args])
    monkeypatch.chdir(ROOT)
    for word in args:
        assert not word.startswith('configs/') or (ROOT / word).is_file()
    if tool == 'tools/train.py':
        parsed = parse_training_args(common_parser(''))
        assert 'randomness.seed' in parsed.cfg_options or parsed.cfg_options['trackers']
        return
    parsed = runpy.run_path(str(ROOT / tool))['parse_args'](*[args] * tool.endswith('run_table.py'))
    if tool.endswith('sweep.py'):
        cfg = Config.fromfile(parsed.config)
        for key in read_search(parsed.search):
            assert cfg.model.head.loss.get('type') == 'ltmm.LogitAdjustmentLoss' and key.rpartition('.')[0]
            place = cfg
            for name in key.split('.')[:-1]:
                place = place[name]
    else:
        assert set(parsed.compare) <= COLUMNS['LongTailMetric'].keys()


def test_there_are_commands_of_all_tools():
    assert {shlex.split(command)[1].split('/')[-1] for command in COMMANDS} == {'train.py', 'run_table.py', 'sweep.py'}


def test_names_of_figures():
    table = re.search(r'\| name \| is \|\n(.+?)\n\n', GUIDE, re.S)[1]
    named = set(re.findall(r'`([\w/<>]+)`', table))
    for metric, prefix in (('MultiLabelMetric', 'multi_label'), ('LongTailMetric', 'long_tail')):
        for name in COLUMNS[metric].values():
            assert name in named or name.removeprefix(f'{prefix}/') in named, name
    assert 'lvis/bbox_AP' in named and {'bbox_APr', 'bbox_APc', 'bbox_APf', 'bbox_AP_fixed'} <= named
