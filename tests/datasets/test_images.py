import struct
import zlib
from functools import partial

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.config import ConfigDict
from mmengine.runner import Runner
from PIL import Image

from ltmm.datasets import CustomDataset, LongTailed, class_distribution_of
from ltmm.datasets.images import (
    CheckedLoad,
    ImageError,
    base_datasets,
    check_loaded_images,
    without_broken_images,
)
from ltmm.registry import DATASETS
from ltmm.utils.cli import one_line_errors
from ltmm.utils.configs import skip_broken_images


def bomb() -> bytes:
    """A PNG file whose header says 100,000 x 100,000 pixels."""

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    header = struct.pack('>IIBBBBB', 10**5, 10**5, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', b'') + chunk(b'IEND', b'')


def noise(path, format_, **options) -> bytes:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)).save(path, format_, **options)
    return path.read_bytes()


def load(path, **record) -> dict:
    return CheckedLoad(LoadImageFromFile())(dict(img_path=str(path), **record))


@pytest.mark.parametrize('format_', ['JPEG', 'PNG', 'WEBP', 'BMP', 'TIFF', 'GIF', 'TGA'])
def test_whole_and_truncated_images(tmp_path, format_):
    data = noise(tmp_path / 'a', format_)
    assert load(tmp_path / 'a')['img'].shape == (40, 30, 3)
    (tmp_path / 'a').write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match='/a cannot be read .*--skip-broken') as error:
        load(tmp_path / 'a')
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('data', [b'', b'<html>not found</html>', bomb()])
def test_other_files(tmp_path, data):
    (tmp_path / 'a.png').write_bytes(data)
    with pytest.raises(ImageError, match='a.png cannot be read'):
        load(tmp_path / 'a.png')
    with pytest.raises(FileNotFoundError, match='b.png does not exist'):
        load(tmp_path / 'b.png')


def test_ignored_images_stay_ignored(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'')
    assert CheckedLoad(LoadImageFromFile(ignore_empty=True))(dict(img_path=str(tmp_path / 'a.png'))) is None


@pytest.mark.parametrize(
    'height, width, orientation, message',
    [
        (40, 30, 1, None),
        (30, 40, 6, None),  # annotated as shown
        (40, 30, 6, 'EXIF orientation .*color_ignore_orientation'),
        (30, 40, 1, 'width and height are swapped'),
        (80, 60, 1, '40 x 30 pixels .*annotation says 80 x 60'),
    ],
)
def test_sizes(tmp_path, height, width, orientation, message):
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise(tmp_path / 'a.jpg', 'JPEG', exif=exif)
    if message is None:
        assert load(tmp_path / 'a.jpg', height=height, width=width)['ori_shape'] == (height, width)
        return
    with pytest.raises(ImageError, match=f'a.jpg has .*{message}'):
        load(tmp_path / 'a.jpg', height=height, width=width)
    as_stored = CheckedLoad(LoadImageFromFile(color_type='color_ignore_orientation'))
    if orientation == 6:
        assert as_stored(dict(img_path=str(tmp_path / 'a.jpg'), height=40, width=30))['ori_shape'] == (40, 30)


# ------------------------------------------------------------------ datasets

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]


@pytest.fixture
def folder(tmp_path):
    """Ten images of two classes, of which three are broken."""
    for i in range(10):
        path = tmp_path / ('ant' if i < 6 else 'bee') / f'{i}.jpg'
        path.parent.mkdir(exist_ok=True)
        noise(path, 'JPEG')
        if i in (1, 4, 7):
            path.write_bytes(path.read_bytes()[:200])
    return tmp_path


def config(folder, **options) -> ConfigDict:
    return ConfigDict(type='ltmm.CustomDataset', data_prefix=str(folder), pipeline=PIPELINE, **options)


@pytest.mark.parametrize('test_mode', [False, True])
def test_broken_images_are_skipped_and_named(folder, test_mode, monkeypatch):
    lines = []
    monkeypatch.setattr('ltmm.datasets.images.print_log', lambda text, *_: lines.append(text))
    dataset = without_broken_images(
        of=CustomDataset, max_broken=3, data_prefix=str(folder), pipeline=PIPELINE, test_mode=test_mode
    )
    assert len(dataset) == 7 and class_distribution_of(dataset).instance_counts.tolist() == [4, 3]
    assert [sample['inputs'].shape for sample in dataset] == [(3, 40, 30)] * 7
    (line,) = lines
    assert line.startswith('3 of 10 images are skipped') and all(f'/{i}.jpg cannot' in line for i in (1, 4, 7))


def test_too_many_broken_images(folder):
    with pytest.raises(ImageError, match=r'3 of 10 images are broken, but --skip-broken allows 2. .*ant/1.jpg .*bee/7'):
        without_broken_images(of=CustomDataset, max_broken=2, data_prefix=str(folder), pipeline=PIPELINE)


def test_ranks_share_the_images(folder, monkeypatch):
    found = {}
    for rank in (0, 1):
        seen = []
        monkeypatch.setattr('ltmm.datasets.images.get_dist_info', partial(tuple, (rank, 2)))
        monkeypatch.setattr('ltmm.datasets.images.all_gather_object', lambda own, seen=seen: seen.append(own) or seen)
        without_broken_images(of=CustomDataset, max_broken=3, data_prefix=str(folder), pipeline=PIPELINE)
        found[rank] = seen[0]
    assert [list(own) for own in found.values()] == [[4], [1, 7]]


def test_config(folder):
    inner = config(folder)
    cfg = ConfigDict(
        train_dataloader=dict(dataset=dict(type='ltmm.LongTailed', imbalance_factor=2, dataset=inner)),
        val_dataloader=None,
        test_dataloader=dict(dataset=dict(type='ConcatDataset', datasets=[config(folder), config(folder)])),
    )
    skip_broken_images(cfg, 3)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert isinstance(dataset, LongTailed) and len(dataset.dataset) == 7
    assert cfg.train_dataloader.dataset.dataset.pipeline == PIPELINE
    assert len(DATASETS.build(cfg.test_dataloader.dataset)) == 14
    with pytest.raises(ValueError, match='`skip_broken`'):
        skip_broken_images(cfg, -1)


def test_datasets_without_image_files_stay_as_they_are():
    cifar = dict(type='ltmm.FeatureDataset', data_root='.', split='x', lazy_init=True)
    with pytest.raises(FileNotFoundError, match='x_features.npy does not exist'):
        without_broken_images(of=cifar.pop('type'), max_broken=0, **cifar)


@pytest.mark.parametrize('num_workers', [0, 1])
def test_broken_image_in_one_line(folder, num_workers):
    loader = Runner.build_dataloader(
        dict(
            batch_size=5,
            num_workers=num_workers,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=config(folder),
        )
    )
    for dataset in base_datasets(loader.dataset):
        check_loaded_images(dataset)
    with pytest.raises(SystemExit) as end, one_line_errors():
        list(loader)
    assert f'{folder}/ant/1.jpg cannot be read' in end.value.code and '\n' not in end.value.code
