import gzip
from pathlib import Path

import numpy as np
import pytest

from ltmm.datasets import ImageNetLT, INaturalist2018, PlacesLT, class_distribution_of
from ltmm.datasets.list_file import ListFileDataset, Split, read_list_file

pytestmark = pytest.mark.usefixtures('empty_folder')

LINES = ['train/attic/1.jpg 0', 'train/attic/2.jpg 0', 'train/attic/3.jpg 0', 'train/zen garden/1.jpg 1']


class Rooms(ListFileDataset):
    name = 'Rooms-LT'
    num_classes = 2
    splits = {'train': Split('rooms_train.txt', 4, 1, 3), 'test': Split('rooms_test.txt', 2, 1, 1)}
    folders = ('rooms', 'Rooms')
    list_folders = ('Rooms_LT',)
    list_source = 'rooms.org/lists'
    archives = 'rooms.tar (rooms.org)'

    def __init__(self, *args, **kwargs):
        super().__init__(*args, serialize_data=False, **kwargs)  # serializing is slow


def write_rooms(images='data/rooms', lists='data/Rooms_LT', lines=LINES):
    Path(lists).mkdir(parents=True, exist_ok=True)
    Path(lists, 'rooms_train.txt').write_text('\n'.join(lines) + '\n')
    for line in LINES:
        path = Path(images, line.rpartition(' ')[0])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ('images', 'lists'),
    [('data/rooms', 'data/Rooms_LT'), ('data/Rooms', 'data/Rooms'), ('sets/rooms', 'data/Rooms_LT')],
)
def test_search(images, lists, monkeypatch):
    monkeypatch.setenv('LTMM_DATA_ROOT', 'sets')
    write_rooms(images, lists)
    dataset = Rooms()
    assert dataset.get_data_info(3) == dict(img_path=f'{images}/train/zen garden/1.jpg', gt_label=1, sample_idx=3)
    assert dataset.metainfo['classes'] == ('attic', 'zen garden')
    assert class_distribution_of(dataset).instance_counts.tolist() == [3, 1]


def test_given_paths():
    write_rooms('here', 'lists')
    assert len(Rooms(data_root='here', ann_file=str(Path('lists/rooms_train.txt').absolute()))) == 4


def test_gzip_list():
    write_rooms()
    text = Path('data/Rooms_LT/rooms_train.txt')
    Path('data/Rooms_LT/rooms_train.txt.gz').write_bytes(gzip.compress(text.read_bytes()))
    text.unlink()
    assert Rooms().get_gt_labels().tolist() == [0, 0, 0, 1]


def test_missing_list():
    with pytest.raises(
        FileNotFoundError, match='/data/Rooms_LT/rooms_train.txt .*rooms_train.txt from rooms.org/lists'
    ):
        Rooms()


def test_missing_images():
    write_rooms()
    Path('data/rooms/train/attic/2.jpg').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 4 images .*train/attic/2.jpg first. Rooms-LT: .*rooms.tar'):
        Rooms()
    assert len(Rooms(check_files=False)) == 4


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        (LINES[:-1], 'expected 4 images, 1 to 3 per class, but got 3, 0 to 3'),
        ([*LINES[1:], 'train/zen garden/2.jpg 1'], 'expected 4 images, 1 to 3 per class, but got 4, 2 to 2'),
        ([*LINES[:2], 'train/attic/3.jpg', LINES[3]], "line 3: .* got 'train/attic/3.jpg'"),
        ([*LINES[:2], '', *LINES[2:]], "line 3: .* got ''"),
        ([*LINES[:3], 'train/attic/4.jpg -1'], "line 4: .* got 'train/attic/4.jpg -1'"),
        ([*LINES[:3], 'train/attic/4.jpg 2'], "line 4: .*<label below 2>', got 'train/attic/4.jpg 2'"),
        ([*LINES[:3], LINES[1]], 'line 4: train/attic/2.jpg is already in line 2'),
    ],
)
def test_invalid_lists(lines, message):
    write_rooms(lines=lines)
    with pytest.raises(ValueError, match=message):
        Rooms()


def test_truncated_gzip():
    Path('list.txt.gz').write_bytes(gzip.compress('\n'.join(LINES).encode())[:-10])
    with pytest.raises(ValueError, match='list.txt.gz is truncated'):
        read_list_file(Path('list.txt.gz'), 2)


def test_unknown_split():
    with pytest.raises(ValueError, match="`split`.* got 'val'"):
        Rooms(split='val')


def test_lazy_init():
    dataset = Rooms(lazy_init=True)
    with pytest.raises(FileNotFoundError):
        dataset.full_init()


def test_indices():
    write_rooms()
    assert class_distribution_of(Rooms(indices=[1, 3])).instance_counts.tolist() == [1, 1]


@pytest.mark.parametrize(('cls', 'num_images'), [(ImageNetLT, 115846), (PlacesLT, 62500), (INaturalist2018, 437513)])
def test_published_totals(cls, num_images, tmp_path):
    split = cls.splits['train']
    assert split.num_images == num_images
    labels = [c for c in range(cls.num_classes) for _ in range(2)]  # two images per class: another list
    (tmp_path / split.file).write_text('\n'.join(f'train/c{c}/{i}.jpg {c}' for i, c in enumerate(labels)))
    with pytest.raises(ValueError, match=f'expected {num_images} images, .* got {2 * cls.num_classes}, 2 to 2'):
        cls(data_root=str(tmp_path))
    assert cls.archives and cls.list_source


def test_official_list(tmp_path):
    counts = np.full(365, 20)
    names = [f'train/scene_{c}/{i}.jpg {c}' for c, n in enumerate(counts) for i in range(n)]
    (tmp_path / 'Places_LT_val.txt').write_text('\n'.join(names))
    dataset = PlacesLT(split='val', data_root=str(tmp_path), check_files=False)
    assert len(dataset) == 7300 and dataset.metainfo['classes'][364] == 'scene_364'
