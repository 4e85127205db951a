import json
import runpy

import numpy as np
import pytest
from PIL import Image
from toy import ROOT

COUNTS = dict(train=[60, 25, 4], test=[20, 20, 20])


def tool(*args):
    runpy.run_path(str(ROOT / 'tools/analysis_tools/feature_manifolds.py'))['main'](list(map(str, args)))


@pytest.fixture
def folder(tmp_path):
    """What tools/extract_features.py writes."""
    for split, counts in COUNTS.items():
        label = np.repeat(np.arange(3), counts)
        np.save(tmp_path / f'{split}_labels.npy', label)
        features = np.random.default_rng(0).normal(size=(len(label), 6)).astype(np.float32)
        np.save(tmp_path / f'{split}_features.npy', features)
        (tmp_path / f'{split}_info.json').write_text(json.dumps(dict(classes=['cat', 'dog', 'emu'])))
    return tmp_path


@pytest.mark.parametrize('split, left_out', [('train', 1), ('test', 0)])
def test_report_and_plot(folder, split, left_out, capsys):
    tool(folder, '--split', split, '--out', folder / 'new' / 'plot.png', '--csv', folder / 'new' / 'table.csv')
    assert f'{left_out} of 3 classes have too few features' in capsys.readouterr().out
    header, *rows = (folder / 'new' / 'table.csv').read_text().splitlines()
    assert header.split(',')[:3] == ['label', 'name', 'images'] and header.endswith(
        ',volume,density,curvature,gaussian_curvature'
    )
    assert [row.split(',')[2] for row in rows] == ['60', '25', '4']  # training images, whatever the split
    assert Image.open(folder / 'new' / 'plot.png').width > 1000


def test_missing_features(tmp_path):
    with pytest.raises(FileNotFoundError, match='extract_features'):
        tool(tmp_path)
