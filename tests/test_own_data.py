"""The configs of own_data train, keep the best checkpoint and are tested, on photos and boxes of a few pixels."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image
from toy import ROOT, read_config
from toy_lvis import lvis_content
from toy_processes import run_tool

from ltmm.utils.environment import mmdet_is_usable
from ltmm.utils.references import resolve_references

TINY = dict(_delete_=True, type='ltmm.ResNetCIFAR', depth=8, channels=(4, 4, 8))
TINY_VIT = dict(_delete_=True, embed_dims=16, num_layers=1, num_heads=2, feedforward_channels=16)
FPN = dict(in_channels=[8, 16, 32, 64], out_channels=8)
ROI = dict(out_channels=8)
TINY_DETECTOR = dict(
    backbone=dict(depth=18, base_channels=8),
    neck=FPN,
    rpn_head=dict(in_channels=8, feat_channels=8),
    roi_head=dict(bbox_roi_extractor=ROI, bbox_head=dict(in_channels=8, fc_out_channels=8)),
)
TINY_MASKS = dict(
    TINY_DETECTOR,
    roi_head=dict(
        TINY_DETECTOR['roi_head'],
        mask_roi_extractor=ROI,
        mask_head=dict(in_channels=8, conv_out_channels=8, num_convs=1),
    ),
)
FAST = dict(max_epochs=2, batch_size=4, num_workers=0)
pytestmark = pytest.mark.slow
needs_mmdet = pytest.mark.skipif(not mmdet_is_usable(), reason='needs mmdet')


def write_photos(folder: Path, counts: dict[str, int]) -> None:
    """Photos of 16 pixels whose brightness tells the class."""
    rng = np.random.default_rng(0)
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = rng.normal(60 + 60 * label, 20, (16, 16, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f'{i}.png')


@pytest.fixture
def photos(tmp_path) -> Path:
    write_photos(tmp_path / 'my', dict(bolt=12, nut=6, wire=3))
    return tmp_path / 'my'


@pytest.fixture
def boxes(tmp_path) -> Path:
    """Boxes and masks of COCO in one file."""
    content = lvis_content()
    (tmp_path / 'my/images').mkdir(parents=True)
    for record in (*content['images'], *content['categories']):
        for field in ('neg_category_ids', 'not_exhaustive_category_ids', 'frequency', 'coco_url'):
            record.pop(field, None)
    for image in content['images']:
        image['file_name'] = f'{image["id"]}.png'
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / 'my/images' / image['file_name'])
    (tmp_path / 'my/annotations.json').write_text(json.dumps(content))
    return tmp_path / 'my'


def run(folder: Path, config: str, tool: str = 'train', **values):
    """Run a tool with a config that inherits one of own_data."""
    path = folder.parent / f'{config}.py'
    path.write_text(f'_base_ = [{str(ROOT / "configs/own_data" / config)!r} + ".py"]\n')
    path.write_text(path.read_text() + ''.join(f'{k} = {v!r}\n' for k, v in values.items()))
    work_dir = folder.parent / 'work'
    args = ['tools/train.py', path] if tool == 'train' else ['tools/test.py', path, *work_dir.glob('best_*')]
    if tool == 'test':
        args += ['--out', folder.parent / 'figures.json']
    return run_tool(*args, '--work-dir', work_dir)


def check_run(folder: Path, config: str, **values) -> Config:
    """Train and test; return the config that the work directory keeps."""
    values = FAST | dict(data_root=str(folder)) | values
    trained = run(folder, config, **values)
    assert trained.returncode == 0, trained.stderr[-2000:] + trained.stdout[-2000:]
    work_dir = folder.parent / 'work'
    assert len(list(work_dir.glob('best_*'))) == 1 and (work_dir / 'epoch_2.pth').is_file()
    tested = run(folder, config, 'test', **values)
    assert tested.returncode == 0, tested.stderr[-2000:] + tested.stdout[-2000:]
    cfg = Config.fromfile(work_dir / f'{config}.py')
    assert cfg.default_hooks.checkpoint.save_best in json.loads((folder.parent / 'figures.json').read_text())
    assert '${' not in (work_dir / f'{config}.py').read_text()
    return cfg


@pytest.mark.parametrize('data_type', ['ltmm.CustomDataset', 'ltmm.CSVDataset'])
def test_photos(photos, data_type):
    model = dict(backbone=TINY, neck=None, head=dict(in_channels=8))
    values = {}
    if data_type == 'ltmm.CSVDataset':
        rows = [f'{path.relative_to(photos)},{path.parent.name}' for path in sorted(photos.glob('*/*'))]
        (photos / 'labels.csv').write_text('\n'.join(['image,label', *rows]))
        values = dict(ann_file='labels.csv', data_type=data_type)
    cfg = check_run(photos, 'finetune_r50', model=model, image_size=16, **values)
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == 3


def test_vit(photos):
    model = dict(backbone=dict(arch=TINY_VIT, patch_size=8, init_cfg=None), head=dict(in_channels=16))
    cfg = check_run(photos, 'finetune_vit', model=model, image_size=16)
    assert cfg.optim_wrapper.optimizer.type == 'AdamW' and cfg.optim_wrapper.optimizer.lr == 5e-5


def test_several_labels(photos):
    rows = [f'{path.relative_to(photos)},{i % 2},,{i % 3 == 0:d}' for i, path in enumerate(sorted(photos.glob('*/*')))]
    (photos / 'labels.csv').write_text('\n'.join(['image,old,wet,red', *rows[:-1], rows[-1].replace(',,', ',1,')]))
    cfg = check_run(
        photos, 'multi_label', model=dict(backbone=TINY, neck=None, head=dict(in_channels=8)), image_size=16
    )
    assert cfg.model.head.num_classes == 3 and cfg.default_hooks.checkpoint.save_best == 'multi_label/mAP'


@needs_mmdet
def test_labels_of_boxes(boxes):
    model = dict(backbone=TINY, neck=None, head=dict(in_channels=8))
    values = dict(data_type='ltmm.DetectionAsMultiLabel', ann_file='annotations.json', images='images')
    assert check_run(boxes, 'multi_label', model=model, image_size=16, **values).model.head.num_classes == 4


@needs_mmdet
@pytest.mark.parametrize(('config', 'model'), [('faster-rcnn', TINY_DETECTOR), ('mask-rcnn', TINY_MASKS)])
def test_boxes(boxes, config, model):
    cfg = check_run(boxes, config, model=model, image_scale=(64, 64), load_from=None)
    assert cfg.model.roi_head.bbox_head.num_classes == 4
    (stopping,) = (hook for hook in cfg.custom_hooks if hook.type == 'ltmm.EarlyStoppingHook')
    assert stopping.min_delta < 0.001  # AP is in [0, 1]
    assert 'ltmm.ChannelsLastHook' not in [hook.type for hook in cfg.custom_hooks]
    assert [part.dataset.part for part in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)] == [
        *('train', 'val', 'test')
    ]


@needs_mmdet
@pytest.mark.parametrize('config', ['finetune_r50', 'finetune_vit', 'multi_label', 'faster-rcnn', 'mask-rcnn'])
def test_weights_are_published(config):
    """The URL is one that the installed packages list."""
    url = read_config(ROOT / f'configs/own_data/{config}.py').pretrained
    package = Path(find_spec('mmdet' if 'rcnn' in config else 'mmpretrain').origin).parent
    assert any(f'Weights: {url}\n' in path.read_text() for path in package.glob('.mim/configs/*/metafile.yml'))


@needs_mmdet
@pytest.mark.parametrize('page', ['own_photos', 'own_boxes', 'own_csv'])
def test_configs_of_the_pages(page, tmp_path):
    snippets = re.findall(r'```python\n(_base_.+?)```', (ROOT / f'docs/start/{page}.md').read_text(), re.S)
    for snippet in snippets:
        (tmp_path / 'mine.py').write_text(snippet.replace("'ltmm::", f"'{ROOT}/configs/"))
        cfg = Config.fromfile(tmp_path / 'mine.py')
        if 'own_data' in snippet:
            cfg.num_classes = 12
            resolve_references(cfg)
            dataset = cfg.train_dataloader.dataset
            assert dataset.get('dataset', dataset).data_root == cfg.data_root
    assert len(snippets) == dict(own_photos=3, own_boxes=4, own_csv=2)[page]


@needs_mmdet
def test_boxes_in_three_files(boxes):
    """With the config of the page for what ``split.py`` writes."""
    split = run_tool(
        *('tools/dataset_tools/split.py', boxes / 'annotations.json', '--from', 'coco', '--out', boxes / 'split')
    )
    assert split.returncode == 0, split.stderr
    snippets = re.findall(r'```python\n(.+?)```', (ROOT / 'docs/start/own_boxes.md').read_text(), re.S)
    (snippet,) = [each for each in snippets if 'split/train.json' in each]
    values = FAST | dict(image_scale=(64, 64), load_from=None, model=TINY_DETECTOR)
    lines = ''.join(f'{key} = {value!r}\n' for key, value in values.items())
    config, work_dir = boxes.parent / 'mine.py', boxes.parent / 'work'
    config.write_text(snippet.replace("'ltmm::", f"'{ROOT}/configs/").replace("'my", f"'{boxes}") + lines)
    trained = run_tool('tools/train.py', config, '--work-dir', work_dir)
    assert trained.returncode == 0, trained.stderr[-2000:] + trained.stdout[-2000:]
    tested = run_tool('tools/test.py', work_dir / 'mine.py', *work_dir.glob('best_*'), '--work-dir', work_dir / 'test')
    assert tested.returncode == 0, tested.stderr[-2000:] + tested.stdout[-2000:]


def message(result) -> str:
    """The last line of a run that fails."""
    assert result.returncode == 1, result.stdout[-2000:]
    assert 'Traceback' not in result.stderr
    return result.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        (dict(data_root=None), '`data_root` of the config is not set'),
        (dict(data_root='missing'), 'Image folder .*missing does not exist'),
        (dict(num_classes=4), r'have 3 classes \(bolt, nut, wire\), but model.head.num_classes is 4'),
        (dict(ann_file='no.csv', data_type='ltmm.CSVDataset'), 'no.csv'),
    ],
)
def test_mistakes(photos, values, expected):
    values = (
        FAST
        | dict(data_root=str(photos), model=dict(backbone=TINY, neck=None, head=dict(in_channels=8)), image_size=16)
        | values
    )
    line = message(run(photos, 'finetune_r50', **values))
    assert line.count('\n') == 0 and re.search(expected, line), line


def test_weights(photos, tmp_path, monkeypatch):
    """Weights that cannot be downloaded, and those of another architecture."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    values = FAST | dict(data_root=str(photos), image_size=16)
    line = message(run(photos, 'finetune_r50', **values, pretrained='http://127.0.0.1:9/resnet50.pth'))
    assert 'Cannot download http://127.0.0.1:9/resnet50.pth' in line
    assert f'save it as {tmp_path}/hub/hub/checkpoints/resnet50.pth' in line
    shapes = {'conv1.weight': (64, 3, 7, 7), 'layer1.0.conv1.weight': (64, 64, 3, 3)}  # of a ResNet-34
    state = {f'backbone.{name}': torch.zeros(shape) for name, shape in shapes.items()}
    torch.save(dict(state_dict=state), tmp_path / 'resnet34.pth')
    line = message(run(photos, 'finetune_r50', **values, pretrained=str(tmp_path / 'resnet34.pth')))
    assert 'resnet34.pth, `Pretrained` of backbone, has ' in line and 'another architecture' in line


@pytest.mark.parametrize(
    ('counts', 'expected'),
    [
        (dict(bolt=12, nut=6, wire=1), 'wire (1)'),  # in the training part only
        (dict(bolt=1, nut=1), 'No image is left for the val part of 2 images'),
    ],
)
def test_few_photos(tmp_path, counts, expected):
    write_photos(tmp_path / 'my', counts)
    model = dict(backbone=TINY, neck=None, head=dict(in_channels=8))
    values = dict(FAST, batch_size=64)  # more than there are
    result = run(tmp_path / 'my', 'finetune_r50', data_root=str(tmp_path / 'my'), model=model, image_size=16, **values)
    assert expected in result.stdout + result.stderr
    assert result.returncode == (0 if sum(counts.values()) > 2 else 1)
