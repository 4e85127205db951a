import runpy

import numpy as np
import pytest
from mmengine.runner import Runner
from PIL import Image
from toy import ROOT, toy_config

from ltmm.evaluation import read_runs


def tool(*args):
    runpy.run_path(str(ROOT / 'tools/analysis_tools/expert_accuracy.py'))['main'](list(map(str, args)))


@pytest.fixture
def trained(tmp_path):
    """Config and checkpoint of two experts, of which the config does not test each."""
    cfg = toy_config(tmp_path / 'train', train_cfg=dict(max_epochs=1))
    cfg.model.backbone = dict(type='ltmm.MultiExpertResNetCIFAR', depth=8, channels=(4, 4, 8), num_experts=2)
    loss = dict(type='ltmm.BalPoELoss', taus=(0.0, 2.0))
    cfg.model.head.update(type='ltmm.MultiExpertClsHead', num_experts=2, loss=loss)
    cfg.dump(tmp_path / 'two.py')
    Runner.from_cfg(cfg).train()
    return tmp_path / 'two.py', tmp_path / 'train/epoch_1.pth'


def test_picture_and_figures_of_each_expert(trained, tmp_path, capsys):
    out = tmp_path / 'experts.png'
    tool(*trained, '--work-dir', tmp_path / 'test', '--out', out)
    printed = capsys.readouterr().out
    runs = read_runs(tmp_path / 'test', 'two', 'per_class*.csv')
    assert [run.name for run in runs] == ['two', 'two, expert 0', 'two, expert 1']
    for run in runs:
        (line,) = (line for line in printed.splitlines() if line.startswith(f'{run.name}  '))
        assert f'{np.nanmean(run.report.value):.2f}' in line
    assert f'Wrote {out}' in printed
    assert Image.open(out).width > 400
