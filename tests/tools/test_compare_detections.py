import json
import runpy

import pytest
import torch
from mmengine.runner import Runner
from PIL import Image
from toy import ROOT
from toy_lvis import detector_config, lvis_content, write_lvis

from ltmm.utils.predictions import read_predictions, write_predictions


def tool(*args):
    runpy.run_path(str(ROOT / 'tools/analysis_tools/compare_detections.py'))['main'](list(map(str, args)))


@pytest.fixture
def data(tmp_path):
    write_lvis(tmp_path / 'data', lvis_content())
    return tmp_path / 'data'


@pytest.fixture
def results(tmp_path):
    """A .npz file of `tools/test.py --out`, and a .json file in COCO format."""
    (oar,) = (a for a in lvis_content()['annotations'] if a['category_id'] == 9)
    record = dict(image_id=10, category_id=9, score=0.9, bbox=oar['bbox'])
    (tmp_path / 'after.json').write_text(json.dumps([record]))
    x, y, w, h = oar['bbox']
    pred = dict(bboxes=torch.tensor([[x, y, x + w, y + h]]), scores=torch.tensor([0.4]), labels=torch.tensor([3]))
    write_predictions([dict(img_id=10, pred_instances=pred)], tmp_path / 'before.npz')
    return tmp_path / 'before.npz', tmp_path / 'after.json'


def test_two_file_formats(data, results, tmp_path, capsys):
    out = tmp_path / 'new' / 'oar.png'
    tool(data / 'annotations.json', data, 'oar', *results, '--out', out)
    assert f'Wrote {out}' in capsys.readouterr().out
    assert Image.open(out).width > 1000
    samples = read_predictions(results[0])
    write_predictions([*samples, dict(samples[0], img_id=11)], results[0])
    tool(data / 'annotations.json', data, 'oar', *results, '--out', out, '--image-ids', 11, 10, '--names', 'a', 'b')
    assert Image.open(out).height > 800


@pytest.mark.slow
def test_checkpoint(data, tmp_path):
    cfg = detector_config(tmp_path / 'run', data)
    Runner.from_cfg(cfg).train()
    cfg.dump(tmp_path / 'cfg.py')
    runs = [tmp_path / 'run/epoch_1.pth', '--configs', tmp_path / 'cfg.py']
    tool(data / 'annotations.json', data, 'kite', *runs, '--score-thr', 0, '--out', tmp_path / 'kite.png')
    assert Image.open(tmp_path / 'kite.png').width > 700


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(class_name='oars'), "has no class 'oars'. Did you mean oar"),
        (dict(options=['--names', 'one']), '2 different names, one per run'),
        (dict(options=['--image-ids', 99]), 'has no image 99'),
        (dict(options=['--image-ids', 11]), r'before.npz has no predictions of image 11: a test of other images'),
        (dict(options=['--num-images', -2]), '`num_images` to be int >= 1'),
        (dict(options=['--configs', 'cfg.py']), 'one config per checkpoint'),
        (dict(runs=['after.pth']), 'one config per checkpoint, or one for all, but got 0 for after.pth'),
        (dict(folder='nowhere'), 'There is no image nowhere/train2017/000000000010.png'),
    ],
)
def test_invalid_arguments(data, results, change, message):
    folder, name = change.get('folder', data), change.get('class_name', 'oar')
    runs = change.get('runs', results)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        tool(data / 'annotations.json', folder, name, *runs, *change.get('options', ()))


def test_predictions_of_more_classes(data, results, tmp_path):
    samples = read_predictions(results[0])
    samples[0]['pred_instances']['labels'] += 3
    write_predictions(samples, tmp_path / 'wide.npz')
    with pytest.raises(ValueError, match='wide.npz has class 6, but the test set has 4 classes'):
        tool(data / 'annotations.json', data, 'oar', tmp_path / 'wide.npz')
