"""Predictions for image files: tools/predict.py."""

import csv
import json
from argparse import Namespace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from toy_processes import run_tool
from toy_trained import (
    EXPERTS,
    MULTI_LABEL,
    NAMES,
    NORMALIZED,
    PIPELINE,
    save_classifier,
    save_detector,
    write_image,
)

from ltmm.apis.image_files import ImageFiles, find_images
from ltmm.apis.outputs import check_out
from ltmm.apis.predict import run_predictions
from ltmm.apis.trained_model import TrainedModel, load_trained_model
from ltmm.datasets.images import ImageError
from ltmm.engine.post_process import balanced_models
from ltmm.utils.configs import read_config
from ltmm.utils.errors import InputError, InputTypeError, MissingInputError


def load(files: tuple[Path, Path], **options) -> TrainedModel:
    config, checkpoint = files
    args = Namespace(config=str(config), trust=False, verbose=False, cfg_options=options or None)
    return load_trained_model(read_config(args), str(checkpoint), 'cpu')


def by_hand(trained: TrainedModel, rgb: np.ndarray) -> torch.Tensor:
    """Logits of an image that is resized already, without pipeline and data preprocessor."""
    x = (torch.tensor(rgb.copy()).float() - torch.tensor(NORMALIZED['mean'])) / torch.tensor(NORMALIZED['std'])
    with torch.no_grad():
        return trained.model.head(trained.model.extract_feat(x.permute(2, 0, 1)[None]))[0]


def test_scores_of_files(tmp_path: Path):
    trained = load(save_classifier(tmp_path))
    paths = [write_image(tmp_path / 'in' / f'{i}.png', i) for i in range(5)]
    records = run_predictions(trained, paths, batch_size=2, num_workers=0, options=dict(top_k=3))
    for path, record in zip(paths, records):
        rgb = cv2.resize(cv2.imread(str(path)), (16, 12))[..., ::-1]
        scores = by_hand(trained, rgb).softmax(0)
        order = scores.argsort(descending=True)[:3].tolist()
        assert record['image'] == str(path)
        assert [item['name'] for item in record['predictions']] == [NAMES[label] for label in order]
        assert [item['train_images'] for item in record['predictions']] == [[50, 20, 5, 1, 0][i] for i in order]
        np.testing.assert_allclose([item['score'] for item in record['predictions']], scores[order], rtol=1e-4)


def test_arrays_are_rgb_and_resized(tmp_path: Path):
    files = save_classifier(tmp_path, [dict(type='PackInputs')], dict(NORMALIZED, to_rgb=False))
    trained, path = load(files), write_image(tmp_path / 'a.png')
    (record,) = run_predictions(trained, [path], size=(8, 10), options=dict(top_k=1))
    rgb = cv2.resize(cv2.imread(str(path))[..., ::-1], (10, 8), interpolation=cv2.INTER_AREA)
    assert record['predictions'][0]['score'] == pytest.approx(by_hand(trained, rgb).softmax(0).max().item(), rel=1e-4)
    with pytest.raises(InputError, match='--size 32'):
        ImageFiles([path], trained.cfg)
    with pytest.raises(InputError, match='leave out --size'):
        ImageFiles([path], load(save_classifier(tmp_path)).cfg, (8, 8))


def test_experts(tmp_path: Path):
    trained = load(save_classifier(tmp_path, **EXPERTS))
    paths = [write_image(tmp_path / f'{i}.png', i) for i in range(4)]
    records = run_predictions(trained, paths, [tmp_path / 'out.csv'])
    for path, record in zip(paths, records):
        rgb = cv2.resize(cv2.imread(str(path)), (16, 12))[..., ::-1]
        x = (torch.tensor(rgb.copy()).float() - torch.tensor(NORMALIZED['mean'])) / torch.tensor(NORMALIZED['std'])
        with torch.no_grad():
            logits = trained.model.head.expert_logits(trained.model.extract_feat(x.permute(2, 0, 1)[None]))[:, 0]
        own, joint = logits.argmax(1), logits.mean(0).argmax()
        assert record['predictions'][0]['label'] == joint
        assert record['agreement'] == pytest.approx((own == joint).double().mean().item())
        assert record['experts'] == [NAMES[label] for label in own]
    with (tmp_path / 'out.csv').open() as file:
        assert [row['experts'] for row in csv.DictReader(file)] == ['|'.join(record['experts']) for record in records]


def test_several_labels(tmp_path: Path):
    trained, path = load(save_classifier(tmp_path, head=MULTI_LABEL)), write_image(tmp_path / 'a.png')
    scores = by_hand(trained, cv2.resize(cv2.imread(str(path)), (16, 12))[..., ::-1]).sigmoid()
    threshold = scores.sort().values[2].item() - 1e-4
    (record,) = run_predictions(trained, [path], [tmp_path / 'a.csv'], options=dict(threshold=threshold))
    assert [item['label'] for item in record['predictions']] == scores.argsort(descending=True)[:3].tolist()
    with (tmp_path / 'a.csv').open() as file:
        (row,) = csv.DictReader(file)
    assert row['names'] == '|'.join(item['name'] for item in record['predictions'])
    with pytest.raises(InputError, match='--top-k is not for a model with multi label: it takes --threshold'):
        run_predictions(trained, [path], options=dict(top_k=2))


def test_boxes_and_masks(tmp_path: Path):
    trained = load(save_detector(tmp_path))
    paths = [write_image(tmp_path / 'in' / f'{i}.jpg', i, (60 + i, 80, 3)) for i in range(2)]
    outs = [tmp_path / 'a.json', tmp_path / 'a.csv', tmp_path / 'drawn']
    run_predictions(trained, paths, outs, options=dict(threshold=0.0))
    images = json.loads(outs[0].read_text())['images']
    assert [(image['height'], image['width']) for image in images] == [(60, 80), (61, 80)]
    box = images[0]['boxes'][0]
    assert box['name'] == NAMES[box['label']]
    assert box['mask']['size'] == [60, 80]
    x1, y1, x2, y2 = box['box']
    assert 0 <= x1 <= x2 <= 80
    assert 0 <= y1 <= y2 <= 60
    with outs[1].open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(len(image['boxes']) for image in images)
    assert float(rows[0]['x2']) == x2
    assert sorted(path.name for path in outs[2].iterdir()) == ['0.jpg.png', '1.jpg.png']
    drawn = cv2.imread(str(outs[2] / '0.jpg.png'))
    assert min(drawn.shape[:2]) == 256
    nothing = run_predictions(trained, paths, [tmp_path / 'b.csv'], options=dict(threshold=1.0))
    assert [record['boxes'] for record in nothing] == [[], []]
    assert len((tmp_path / 'b.csv').read_text().splitlines()) == 3


def test_correction_of_the_config(tmp_path: Path):
    """A hook corrects as it does in a test, by the counts in the checkpoint."""
    step = dict(type='ltmm.LogitAdjustment', tau=2.0)
    plain = load(save_classifier(tmp_path / 'a'))
    hook = dict(type='ltmm.PostProcessHook', steps=[step])
    trained = load(save_classifier(tmp_path / 'b', hooks=[hook]))
    assert trained.correction == 'LogitAdjustment(tau=2)'
    path = write_image(tmp_path / 'a.png')
    rgb = cv2.resize(cv2.imread(str(path)), (16, 12))[..., ::-1]
    counts = torch.tensor([50.0, 20, 5, 1])
    expected = by_hand(plain, rgb)[:4] - 2 * (counts / counts.sum()).log()
    corrected = by_hand(trained, rgb)[:4]
    torch.testing.assert_close(corrected - corrected[0], (expected - expected[0]).to(corrected), rtol=1e-4, atol=1e-4)


def test_correction_of_a_balanced_model_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    messages = []
    monkeypatch.setattr(balanced_models, 'print_log', lambda message, *args, **kwargs: messages.append(message))
    hook = dict(type='ltmm.PostProcessHook', steps=[dict(type='ltmm.LogitAdjustment', tau=1.0)])
    load(save_classifier(tmp_path, hooks=[hook]))
    assert 'BalancedSoftmaxLoss has balanced the classes in training already' in messages[0]


def test_correction_without_counts_is_refused(tmp_path: Path):
    hook = dict(type='ltmm.PostProcessHook', steps=[dict(type='ltmm.LogitAdjustment', tau=1.0)])
    config, checkpoint = save_classifier(tmp_path, hooks=[hook])
    content = torch.load(checkpoint, weights_only=True)
    content['state_dict'] = {k: value for k, value in content['state_dict'].items() if 'class_distribution' not in k}
    torch.save(content, checkpoint)
    with pytest.raises(MissingInputError, match='LogitAdjustment needs the class distribution'):
        load((config, checkpoint))


def test_correction_to_fit_is_refused(tmp_path: Path):
    hook = dict(type='ltmm.PostProcessHook', steps=[dict(type='ltmm.NearestClassMean')])
    with pytest.raises(InputError, match='NearestClassMean of the config is fitted before each test'):
        load(save_classifier(tmp_path, hooks=[hook]))


def test_other_checkpoints_are_refused(tmp_path: Path):
    config, checkpoint = save_classifier(tmp_path / 'a')
    _, other = save_classifier(tmp_path / 'b', **EXPERTS)
    with pytest.raises(InputError, match='to fit the model'):
        load((config, other))
    content = torch.load(checkpoint, weights_only=True)
    content['state_dict']['head.fc.bias'][0] = float('nan')
    torch.save(content, checkpoint)
    with pytest.raises(InputError, match=r'head\.fc\.bias has NaN'):
        load((config, checkpoint))
    with pytest.raises(FileNotFoundError, match='There is no checkpoint'):
        load((config, tmp_path / 'gone.pth'))
    with pytest.raises(InputError, match="There is no device 'gpu'"):
        load_trained_model(Config.fromfile(config), str(checkpoint), 'gpu')
    neither = tmp_path / 'neither.py'
    neither.write_text(config.read_text().replace("type='ImageClassifier'", "type='ltmm.TemperatureScaling'"))
    cfg = Config(dict(default_scope='mmpretrain', model=dict(type='ltmm.TemperatureScaling')))
    with pytest.raises(InputTypeError, match='ImageClassifier with a head, or a detector of mmdet, but got Temp'):
        load_trained_model(cfg, str(checkpoint), 'cpu')


def strange_images(folder: Path) -> dict[str, Path]:
    """Images as strangers send them, all of a red upper half."""
    rgb = np.zeros((20, 30, 3), np.uint8)
    rgb[:10, :, 0] = 255
    image, folder = Image.fromarray(rgb), folder / 'photos of Zoë 图'
    (folder / 'sub').mkdir(parents=True)
    files = {name: folder / name for name in ('cmyk.jpg', 'deep.png', 'turned.jpg', 'moving.gif', 'sub/cmyk.jpg')}
    image.convert('CMYK').save(files['cmyk.jpg'], quality=100)
    cv2.imencode('.png', rgb[..., ::-1].astype(np.uint16) * 257)[1].tofile(files['deep.png'])
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    image.rotate(180).save(files['turned.jpg'], exif=exif, quality=100)
    image.save(files['moving.gif'], save_all=True, append_images=[image.rotate(90)])
    image.save(files['sub/cmyk.jpg'], quality=100)
    return files


def test_strange_images_are_read_as_what_they_show(tmp_path: Path):
    files = strange_images(tmp_path)
    paths = find_images([str(tmp_path)])
    assert set(paths) == set(files.values())
    data = ImageFiles(paths, load(save_classifier(tmp_path / 'model')).cfg, keep_images=True)
    for index, inputs, image in (data[i] for i in range(len(data))):
        assert inputs['inputs'].shape == (3, 12, 16)
        upper, lower = image[2:8, 5:25].mean((0, 1)), image[13:18, 5:25].mean((0, 1))
        assert upper[0] > 200 > 100 > upper[1], paths[index]
        assert lower.max() < 40, paths[index]


def test_one_drawing_per_image(tmp_path: Path):
    files = strange_images(tmp_path / 'in')
    out = tmp_path / 'out'
    run_predictions(load(save_classifier(tmp_path)), find_images([str(tmp_path / 'in')]), [out])
    names = {str(path.relative_to(out)) for path in out.rglob('*.png')}
    assert names == {f'{name}.png' for name in files}
    drawn = cv2.imdecode(np.fromfile(out / 'moving.gif.png', np.uint8), cv2.IMREAD_COLOR)
    assert drawn[100, 300].tolist()[2] > 200  # red, beside the text


def test_drawings_stay_in_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    trained = load(save_classifier(tmp_path))
    write_image(tmp_path / 'a.png'), write_image(tmp_path / 'here/b.png')
    monkeypatch.chdir(tmp_path / 'here')
    run_predictions(trained, [Path('../a.png'), Path('b.png')], [Path('out/drawn')])
    assert sorted(map(str, Path('out').rglob('*.png'))) == ['out/drawn/a.png.png', 'out/drawn/here/b.png.png']


def test_broken_images(tmp_path: Path, capsys: pytest.CaptureFixture):
    trained = load(save_classifier(tmp_path))
    paths = [write_image(tmp_path / 'in' / f'{i}.png', i) for i in range(3)]
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    with pytest.raises(ImageError, match=r'1\.png cannot be read .*--skip-broken N'):
        run_predictions(trained, paths, [tmp_path / 'a.json'])
    assert not (tmp_path / 'a.json').exists()
    records = run_predictions(trained, paths, max_broken=1)
    assert '--skip-broken' not in capsys.readouterr().err
    assert [record['image'] for record in records] == [str(paths[0]), str(paths[2])]


def test_find_images(tmp_path: Path, monkeypatch):
    for name in ('b/x.png', 'a/x.png', 'a/[1].png', '.hidden/x.png', '__MACOSX/y.png'):
        write_image(tmp_path / name)
    (tmp_path / 'notes.txt').write_text('no image')
    (tmp_path / 'empty').mkdir()
    monkeypatch.chdir(tmp_path)
    assert list(map(str, find_images(['.']))) == ['a/[1].png', 'a/x.png', 'b/x.png']
    assert list(map(str, find_images(['a/[1].png', '*/x.png', 'a']))) == ['a/[1].png', 'a/x.png', 'b/x.png']
    for wrong in ('empty', 'a/*.jpg', '*.txt'):
        with pytest.raises(InputError, match='There are no images in'):
            find_images([wrong])
    write_image(tmp_path / '.hidden/y.png')
    Path('b/link').symlink_to('../.hidden')
    assert list(map(str, find_images(['b']))) == ['b/link/x.png', 'b/link/y.png', 'b/x.png']
    with pytest.raises(FileNotFoundError, match=r'no image, folder or pattern gone\.png'):
        find_images(['gone.png'])


def test_existing_outputs_are_kept(tmp_path: Path):
    (tmp_path / 'a.json').write_text('mine')
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full/mine.png').write_text('mine')
    (tmp_path / 'file').write_text('mine')
    (tmp_path / 'folder.csv').mkdir()
    for name, message in (
        ('a.json', '--overwrite'),
        ('full', '--overwrite'),
        ('file', 'to be a folder, but it is a file'),
        ('folder.csv', 'to be a file, but it is a folder'),
        ('a.pkl', r'\.json or \.csv file or a folder'),
    ):
        with pytest.raises(InputError, match=message):
            check_out(tmp_path / name)
    check_out(tmp_path / 'a.json', overwrite=True)


def test_tool(tmp_path: Path):
    config, checkpoint = save_classifier(tmp_path, PIPELINE)
    image, out = write_image(tmp_path / 'in/a b.png'), tmp_path / 'out.json'
    done = run_tool('tools/predict.py', config, checkpoint, tmp_path / 'in', '--out', out, '--top-k', 2)
    assert done.returncode == 0, done.stderr
    content = json.loads(out.read_text())
    assert content['checkpoint'] == str(checkpoint)
    assert content['correction'] is None
    assert [(item['image'], len(item['predictions'])) for item in content['images']] == [(str(image), 2)]
    failed = run_tool('tools/predict.py', config, checkpoint, tmp_path / 'in', '--out', out)
    assert failed.returncode == 1
    assert failed.stderr.strip() == f'InputError: {out} exists. Choose another name, or write over it by --overwrite.'
