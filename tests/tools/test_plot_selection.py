import json
import runpy

import numpy as np
import pytest
from toy import ROOT

from ltmm.visualization import plot_selection, read_selection


def run(*args):
    runpy.run_path(str(ROOT / 'tools/analysis_tools/plot_selection.py'))['main'](list(map(str, args)))


def log(folder, epochs, started='20261130_000000', **figures):
    """The log of a training; the epochs before the first selection have no figures."""
    path = folder / started / 'vis_data/scalars.json'
    path.parent.mkdir(parents=True)
    lines = [dict(loss=1.0, epoch=1, iter=9), dict(accuracy=50.0, step=1)]
    for number, epoch in enumerate(epochs):
        values = {f'clean_{name}': values[number] for name, values in figures.items()}
        lines += [dict(loss=1.0, epoch=epoch, iter=10 * epoch, **values)] * 2
    path.write_text('\n'.join(map(json.dumps, lines)))
    return folder


FIGURES = dict(precision=[0.8, 0.9], recall=[0.5, 0.6], precision_few=[0.2, 0.4], recall_few=[0.1, 0.3])


def test_figures_of_the_log_go_to_the_picture(tmp_path, capsys):
    folder = log(tmp_path / 'tabasco', [3, 4], **FIGURES)
    assert read_selection(folder)['precision_few'] == {3: 0.2, 4: 0.4}
    run(folder, '--out', tmp_path / 'selection.svg')
    out = capsys.readouterr().out
    assert 'tabasco: precision 90.0, recall 60.0, precision_few 40.0, recall_few 30.0' in out
    assert (tmp_path / 'selection.svg').stat().st_size > 5000


def test_lines_are_the_figures(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr('matplotlib.axes.Axes.plot', lambda self, x, y, *args, **kwargs: drawn.append((x, y, kwargs)))
    monkeypatch.setattr('matplotlib.axes.Axes.legend', lambda self, **kwargs: None)
    runs = {name: read_selection(log(tmp_path / name, [3, 4], **FIGURES)) for name in ('one', 'two')}
    plot_selection(runs, tmp_path / 'x.png')
    assert [kwargs['label'] for *_, kwargs in drawn] == 2 * ['one, all', 'one, few', 'two, all', 'two, few']
    np.testing.assert_allclose(drawn[1][1], [20, 40])
    assert drawn[1][0] == [3, 4]


def test_resumed_run(tmp_path):
    log(tmp_path, [3, 4], precision=[0.1, 0.2])
    log(tmp_path, [4, 5], '20261130_000001', precision=[0.3, 0.4])
    assert read_selection(tmp_path)['precision'] == {3: 0.1, 4: 0.3, 5: 0.4}


def test_bad_input(tmp_path):
    with pytest.raises(ValueError, match='training with ltmm.CoDivideHook or .* on ltmm.NoisyLabels'):
        run(log(tmp_path / 'ce', []), '--out', tmp_path / 'x.png')
    folder = log(tmp_path / 'tabasco', [3, 4], **FIGURES)
    with pytest.raises(ValueError, match='--names to be 1 different names'):
        run(folder, '--names', 'a', 'b')
