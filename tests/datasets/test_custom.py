from os.path import relpath
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmpretrain.datasets import CustomDataset as MMPretrainCustomDataset
from PIL import Image

from ltmm.datasets import CustomDataset, class_distribution_of
from ltmm.datasets.custom import check_custom_dataset
from ltmm.utils.errors import InputError

FILES = {
    'ant/1.jpg': 'JPEG',
    'ant/b 2.JPEG': 'JPEG',
    'ant/sub/3.png': 'PNG',
    'bee/1.webp': 'WEBP',
    'bee/2.tga': 'TGA',  # which only Pillow reads
    'bee/3': 'PNG',
    'cow/1.gif': 'GIF',
}
OTHERS = ('ant/labels.xml', 'bee/.1.jpg', 'cow/Thumbs.db', '.ipynb_checkpoints/1.jpg', '__MACOSX/1.jpg', 'readme.md')


@pytest.fixture
def root(tmp_path) -> Path:
    for name, format_ in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 6, 3), 128, np.uint8)).save(tmp_path / name, format_)
    for name in OTHERS:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('text')
    return tmp_path


@pytest.fixture
def lines(monkeypatch) -> list[str]:
    found = []
    monkeypatch.setattr('ltmm.datasets.custom.print_log', lambda text, *_: found.append(text))
    return found


def content(dataset) -> list[tuple[str, int]]:
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(relpath(record['img_path'], dataset.img_prefix), record['gt_label']) for record in records]


def test_every_image_is_read(root, lines):
    dataset = CustomDataset(data_prefix=str(root))
    assert dataset.metainfo['classes'] == ('ant', 'bee', 'cow')
    assert content(dataset) == [(name, 'abc'.index(name[0])) for name in FILES]
    assert class_distribution_of(dataset).instance_counts.tolist() == [3, 3, 1]
    assert lines == [f'{root}: 5 of 12 files are skipped: 3 hidden, 1 .xml, 1 .db.']


def test_samples_equal_mmpretrain(root, lines):
    for name in [*OTHERS, 'bee/2.tga', 'bee/3', 'bee/1.webp', 'cow/1.gif']:
        (root / name).unlink()
    (root / '.ipynb_checkpoints').rmdir()
    (root / '__MACOSX').rmdir()
    ours, theirs = CustomDataset(data_prefix=str(root)), MMPretrainCustomDataset(data_prefix=str(root))
    assert content(ours) == content(theirs) and ours.metainfo == theirs.metainfo
    assert not lines


def test_extensions(root):
    assert [name for name, _ in content(CustomDataset(data_prefix=str(root), extensions=('.png',)))] == [
        'ant/sub/3.png'
    ]


@pytest.mark.parametrize(
    'classes, expected',
    [
        (('cow', 'ant', 'bee'), dict(ant=1, bee=2, cow=0)),
        (('cow', 'ant'), dict(ant=1, cow=0)),
        (('Ameise', 'Biene', 'Kuh'), dict(ant=0, bee=1, cow=2)),
    ],
)
def test_classes_are_folders_by_name(root, classes, expected):
    dataset = CustomDataset(data_prefix=str(root), metainfo=dict(classes=classes))
    assert {name.partition('/')[0]: label for name, label in content(dataset)} == expected
    assert dataset.metainfo['classes'] == classes


@pytest.mark.parametrize('classes', [('ant', 'Bee', 'cow'), ('Bee', 'Cow', 'Ant')])
def test_unknown_class(root, classes):
    with pytest.raises(InputError, match="no 'Bee'. Did you mean bee"):
        CustomDataset(data_prefix=str(root), metainfo=dict(classes=classes))


def test_folders_that_are_no_class_are_counted(root, monkeypatch):
    lines = []
    monkeypatch.setattr('ltmm.datasets.custom.print_log', lambda text, *_: lines.append(text))
    files = sum(path.is_file() for path in (root / 'bee').rglob('*'))
    CustomDataset(data_prefix=str(root), metainfo=dict(classes=('cow', 'ant')))
    assert f'{files} in folders that are no class' in lines[-1]


def test_list_of_images(root):
    (root / 'list.txt').write_bytes('ant/b 2.JPEG 0\r\n\r\nbee/1.webp\t1\r\n'.encode('utf-8-sig'))
    dataset = CustomDataset(data_root=str(root), ann_file='list.txt', metainfo=dict(classes=('a', 'b')))
    assert content(dataset) == [('ant/b 2.JPEG', 0), ('bee/1.webp', 1)]
    for line, error, message in (
        ('ant/1.jpg 1.2', InputError, r"line 1: expected '<path> <label>', got 'ant/1.jpg 1.2'"),
        ('ant/1.jpg', InputError, 'line 1'),
        ('ant/1.jpg ' + '9' * 5000, InputError, 'line 1'),
        ('\n', InputError, 'lists no images'),
        ('ant/9.jpg 0', FileNotFoundError, 'ant/9.jpg first'),
    ):
        (root / 'list.txt').write_text(line)
        with pytest.raises(error, match=message):
            CustomDataset(data_root=str(root), ann_file='list.txt')
    (root / 'list.csv').write_text('image,label\nant/1.jpg,ant')
    with pytest.raises(InputError, match="got 'image,label'. type='ltmm.CSVDataset' reads CSV files"):
        CustomDataset(data_root=str(root), ann_file='list.csv')
    (root / 'list.txt').write_text('ant/1.jpg 2')
    dataset = CustomDataset(data_root=str(root), ann_file='list.txt', metainfo=dict(classes=('a', 'b')))
    with pytest.raises(InputError, match=r'in \[0, 2\), but .*ant/1.jpg has label 2'):
        class_distribution_of(dataset)


def test_folders_without_images(root, tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere does not exist'):
        CustomDataset(data_prefix=str(root / 'nowhere'))
    (root / 'list.zip').write_bytes(b'')
    with pytest.raises(FileNotFoundError, match='list.zip is a file'):
        CustomDataset(data_prefix=str(root / 'list.zip'))
    with pytest.raises(InputError, match='sub has no images in folders of classes: expected <class>/<image>'):
        CustomDataset(data_prefix=str(root / 'ant/sub'))


def test_dataset_of_mmpretrain(root, lines):
    with pytest.raises(InputError, match=r'ipynb_checkpoints is class 0. Use .*ltmm.CustomDataset'):
        check_custom_dataset(MMPretrainCustomDataset(data_prefix=str(root)))
    for folder in ('.ipynb_checkpoints', '__MACOSX'):
        (root / folder / '1.jpg').unlink()
        (root / folder).rmdir()
    check_custom_dataset(MMPretrainCustomDataset(data_prefix=str(root)))
    (line,) = lines
    assert '1 .webp' in line and '1 .gif' in line and '1 .tga' in line and '.xml' not in line
    with pytest.raises(InputError, match='order of classes'):
        check_custom_dataset(
            MMPretrainCustomDataset(data_prefix=str(root), metainfo=dict(classes=('cow', 'ant', 'bee')))
        )


def test_opencv_reads_the_suffixes(tmp_path):
    for suffix in ('.webp', '.gif', '.bmp', '.tif', '.jfif'):
        path = tmp_path / f'a{suffix}'
        Image.fromarray(np.full((8, 6, 3), 128, np.uint8)).save(path)
        assert cv2.imread(str(path)) is not None
