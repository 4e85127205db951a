import runpy

import pytest
import torch
from mmengine.runner import Runner
from PIL import Image
from toy import ROOT, toy_config

from ltmm.evaluation.functional import calibration_bins
from ltmm.utils.predictions import read_predictions, write_predictions


def tool(*args):
    runpy.run_path(str(ROOT / 'tools/analysis_tools/reliability_diagram.py'))['main'](list(map(str, args)))


def figures(text):
    return {name: float(value) for name, value in (line.split() for line in text.splitlines() if line.count(' ') > 2)}


@pytest.fixture
def predictions(tmp_path):
    """A .npz file of `tools/test.py --out`."""
    generator = torch.Generator().manual_seed(0)
    score = torch.randn(60, 5, generator=generator).softmax(1)
    samples = [dict(gt_label=torch.tensor([i % 5]), pred_score=score[i]) for i in range(60)]
    write_predictions(samples, tmp_path / 'predictions.npz')
    return tmp_path / 'predictions.npz'


def test_predictions(predictions, tmp_path, capsys):
    tool(predictions, '--out', tmp_path / 'new' / 'sure.png', '--num-bins', 10)
    *lines, wrote = capsys.readouterr().out.splitlines()
    printed = figures('\n'.join(lines))
    assert set(printed) == {'ece', 'mce', 'oe', 'sce', 'adaptive_ece', 'nll', 'brier'}
    assert printed['mce'] >= printed['ece'] > 0
    assert wrote == f'Wrote {tmp_path / "new" / "sure.png"}'
    assert Image.open(tmp_path / 'new' / 'sure.png').width > 400


def test_checkpoint(tmp_path, capsys):
    cfg = toy_config(tmp_path / 'train', train_cfg=dict(max_epochs=1), val_evaluator=dict(type='Accuracy'))
    cfg.dump(tmp_path / 'toy_config.py')
    Runner.from_cfg(cfg).train()
    capsys.readouterr()
    config, checkpoint, out = tmp_path / 'toy_config.py', tmp_path / 'train/epoch_1.pth', tmp_path / 'reliability.png'
    tool(config, checkpoint, '--work-dir', tmp_path / 'test', '--out', out)
    printed = capsys.readouterr().out
    assert 'ece_few' in printed
    assert out.exists()


@pytest.mark.parametrize('args', [['config.py'], ['predictions.npz', 'epoch_1.pth']])
def test_wrong_number_of_files(args, capsys):
    with pytest.raises(SystemExit):
        tool(*args)
    assert 'expected CONFIG and CHECKPOINT, or one .npz or .csv file' in capsys.readouterr().err


def test_bins_of_the_metric(tmp_path, capsys):
    (tmp_path / 'bins.csv').write_text(calibration_bins([0.3, 0.9], [False, True], 15).to_csv())
    tool(tmp_path / 'bins.csv', '--out', tmp_path / 'bins.png')
    assert capsys.readouterr().out == f'Wrote {tmp_path / "bins.png"}\n'
    assert Image.open(tmp_path / 'bins.png').width > 400


def test_predictions_that_are_not_probabilities(predictions):
    samples = read_predictions(predictions)
    samples[3]['pred_score'] = samples[3]['pred_score'] - 1
    write_predictions(samples, predictions)
    with pytest.raises(ValueError, match='Expected `pred_score` to be probabilities'):
        tool(predictions)
