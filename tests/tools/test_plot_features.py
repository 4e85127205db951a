import argparse
import json
import re
import runpy
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from toy import ROOT, toy_config

from ltmm.apis.feature_sources import open_sources
from ltmm.engine.stages.feature_extraction import extract_splits
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

pytest.importorskip('sklearn')
COUNTS = dict(train=[60, 25, 4], test=[12, 10, 11])
OPTIONS = ('--perplexity', '4', '--per-class', '10', '-k', '3', '--method', 'pca')


def tool(*args):
    argv, sys.argv = sys.argv, ['plot_features.py', *map(str, args)]
    try:
        runpy.run_path(str(ROOT / 'tools/analysis_tools/plot_features.py'))['main']()
    finally:
        sys.argv = argv


def opened(*inputs, names=None, split='test'):
    options = dict(device='cpu', cfg_options=None, verbose=False, trust=False)
    return open_sources(argparse.Namespace(inputs=list(map(str, inputs)), names=names, split=split, **options))


def write_features(folder, counts=COUNTS, width=6, seed=0):
    """What tools/extract_features.py writes."""
    folder.mkdir()
    for split, numbers in counts.items():
        label = np.repeat(np.arange(len(numbers)), numbers)
        features = np.random.default_rng(seed).normal(size=(len(label), width)).astype(np.float32)
        np.save(folder / f'{split}_labels.npy', label)
        np.save(folder / f'{split}_features.npy', features)
        (folder / f'{split}_info.json').write_text(json.dumps(dict(classes=['cat', 'dog', 'emu'])))
    return folder


@pytest.fixture
def toy(tmp_path):
    """A config, and two checkpoints of it."""
    cfg = toy_config(tmp_path / 'train')
    cfg.dump(tmp_path / 'toy_cfg.py')
    for seed, name in enumerate(('one', 'two')):
        torch.manual_seed(seed)
        torch.save(dict(state_dict=MODELS.build(cfg.model).state_dict()), tmp_path / f'{name}.pth')
    return tmp_path / 'toy_cfg.py', tmp_path / 'one.pth', tmp_path / 'two.pth'


def test_two_folders(tmp_path, capsys):
    before, after = write_features(tmp_path / 'before'), write_features(tmp_path / 'after', width=4, seed=1)
    tool(before, after, '--out', tmp_path / 'new' / 'features.png', *OPTIONS)
    printed = capsys.readouterr().out
    assert [line for line in printed.splitlines() if line in ('before', 'after')] == ['before', 'after']
    assert 'By chance: 33.3 % of 3 classes.' in printed and 'left out' not in printed
    assert Image.open(tmp_path / 'new' / 'features.png').width > 1000
    tool(before, '--out', tmp_path / 'features.svg', *OPTIONS, '--per-class', '11', '--no-normalize')
    assert '1 medium-shot classes with fewer than 11 images in test are left out.' in capsys.readouterr().out
    text = (tmp_path / 'features.svg').read_text()
    assert '<!-- PCA, seed 0: 22 images of test, 11 per class, features as they are -->' in text
    assert '<!-- cat -->' in text and '<!-- dog -->' not in text


def test_checkpoints_and_extracted_features_are_the_same(toy, tmp_path):
    config, *checkpoints = toy
    cfg = toy_config(tmp_path / 'extract')
    extract_splits(cfg, checkpoints[1], tmp_path / 'features', ['train', 'test'])
    one, two, folder = opened(config, *checkpoints, tmp_path / 'features', split='train')
    assert [source.name for source in (one, two, folder)] == ['toy_cfg, one', 'toy_cfg, two', 'features']
    rows = np.array([1, 5, 33, 41, 63])
    np.testing.assert_array_equal(two.features(rows), folder.features(rows))
    assert not np.allclose(one.features(rows), two.features(rows))
    assert one.distribution.image_counts.tolist() == [40, 16, 8]


def test_tool_with_checkpoints(toy, tmp_path, capsys):
    tool(*toy, '--names', 'before', 'after', '--per-class', '8', *OPTIONS[-4:], '--out', tmp_path / 'features.svg')
    assert capsys.readouterr().out.count('k-NN accuracy') == 2
    assert (
        '<!-- PCA, seed 0: 24 images of test, 8 per class, features of length 1 -->'
        in (tmp_path / 'features.svg').read_text()
    )


def test_other_images_and_other_training_sets(tmp_path):
    first = write_features(tmp_path / 'first')
    other = write_features(tmp_path / 'other', dict(COUNTS, test=[12, 11, 10]))
    with pytest.raises(InputError, match=r'same images, but the labels of first \(33\) and other \(33\) differ'):
        opened(first, other)
    balanced = write_features(tmp_path / 'balanced', dict(COUNTS, train=[30, 30, 30]))
    with pytest.raises(InputError, match='many- and few-shot would not be the same classes'):
        opened(first, balanced)


def test_options_of_the_guide_exist():
    guide = (ROOT / 'docs/guides/pictures.md').read_text()
    tools = [ROOT / f'tools/analysis_tools/plot_{name}.py' for name in ('features', 'attention')]
    known = set(re.findall(r"'(--?[a-z-]+)'", ''.join(path.read_text() for path in tools)))
    used = set(re.findall(r'(?<![\w-])(--?[a-z]+[a-z-]*)', guide))
    assert {'--classes-per-group', '-k'} < used <= known


def test_wrong_inputs(toy, tmp_path):
    folder = write_features(tmp_path / 'first')
    with pytest.raises(InputError, match=r'a config \(.py\) in front of the checkpoint'):
        opened(toy[1])
    for inputs in ((toy[0],), (folder, toy[0]), (toy[0], toy[0], toy[1]), (*toy, toy[0])):
        with pytest.raises(InputError, match='a checkpoint behind the config'):
            opened(*inputs)
    with pytest.raises(InputError, match='Expected 2 different names'):
        opened(folder, folder)
    with pytest.raises(FileNotFoundError, match='no file or folder'):
        opened(tmp_path / 'missing')
    with pytest.raises(InputError, match='Expected `suffix`'):
        tool(tmp_path / 'missing', '--out', tmp_path / 'features.doc')
