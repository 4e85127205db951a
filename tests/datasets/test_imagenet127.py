from pathlib import Path

import pytest
from mmengine.registry import DefaultScope
from PIL import Image
from toy import ROOT, read_config

from ltmm.datasets import ImageNet127, class_distribution_of
from ltmm.datasets.imagenet127 import read_super_classes
from ltmm.datasets.wrappers import semi_supervised_collate
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError

LINES = ['n01 fish', 'n02 working dog', 'n03 fish', 'n04 bird']
TRAIN = dict(n01=1, n02=4, n03=1, n04=2)  # working dog 4, then bird and fish, two each
VAL = dict(n01=1, n02=1, n03=1, n04=1)


@pytest.fixture(autouse=True)
def four_wnids(empty_folder, monkeypatch):
    monkeypatch.setattr(ImageNet127, 'num_classes', 3)
    monkeypatch.setattr(ImageNet127, 'num_wnids', 4)
    monkeypatch.setattr(ImageNet127, 'num_images', {'train': 8, 'val': 4})


def write_imagenet(root='data/imagenet', lines=LINES, splits=('train', 'val'), class_file='data/imagenet127.txt'):
    for split in splits:
        for wnid, number in dict(train=TRAIN, val=VAL)[split].items():
            folder = Path(root, split, wnid)
            folder.mkdir(parents=True)
            for i in range(number):
                (folder / f'{wnid}_{i}.JPEG').touch()
    Path(class_file).write_text('\n'.join(lines) + '\n')


@pytest.mark.parametrize(
    ('root', 'class_file'),
    [
        ('data/imagenet', 'data/imagenet127.txt'),
        ('sets/ILSVRC2012', 'sets/ILSVRC2012/imagenet127.txt'),
        ('sets/imagenet', 'sets/imagenet127.txt'),
    ],
)
def test_search(root, class_file, monkeypatch):
    monkeypatch.setenv('LTMM_DATA_ROOT', 'sets')
    write_imagenet(root, class_file=class_file)
    dataset = DATASETS.build(dict(type='ltmm.ImageNet127'))
    record = dataset.get_data_info(0)
    assert record == dict(img_path=f'{root}/train/n01/n01_0.JPEG', gt_label=2, sample_idx=0)


def test_classes_are_sorted_by_frequency():
    write_imagenet()
    train, val = ImageNet127(), ImageNet127('val')
    assert train.metainfo['classes'] == val.metainfo['classes'] == ('working dog', 'bird', 'fish')
    assert class_distribution_of(train).instance_counts.tolist() == [4, 2, 2]
    assert class_distribution_of(val).instance_counts.tolist() == [1, 1, 2]
    assert val.get_gt_labels().tolist() == [2, 0, 2, 1]


def test_validation_set_alone():
    write_imagenet(splits=['val'])
    with pytest.raises(FileNotFoundError, match=r'train/n01 does not exist, nor 3 .* order of the classes, or `metai'):
        ImageNet127('val')
    classes = ['working dog', 'fish', 'bird']
    assert ImageNet127('val', metainfo=dict(classes=classes)).get_gt_labels().tolist() == [1, 0, 1, 2]
    with pytest.raises(InputError, match='classes in `metainfo` to be the 3 of'):
        ImageNet127('val', metainfo=dict(classes=['cat', 'fish', 'bird']))


@pytest.mark.parametrize(('config', 'size'), [('simpro_r50', 32), ('fixmatch_r50_64px', 64)])
def test_semi_supervised_set(config, size, monkeypatch):
    """The data sets and pipelines of the configs: a part of each class labeled, all views of one size."""
    cfg = read_config(ROOT / f'configs/imagenet127/{config}.py').train_dataloader
    monkeypatch.setitem(TRAIN, 'n03', 20)
    monkeypatch.setitem(ImageNet127.num_images, 'train', 27)
    write_imagenet()
    for path in Path('data').rglob('*.JPEG'):
        Image.new('RGB', (90, 70), 'gray').save(path)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        dataset = DATASETS.build(cfg.dataset)
    assert dataset.sizes == [4, 23] and dataset.get_class_distribution().instance_counts.tolist() == [2, 1, 1]
    assert sorted(dataset.true_labels[4:]) == [0] * 19 + [1] * 3 + [2]
    batch = semi_supervised_collate([dataset[0], dataset[26]])
    assert {view.shape for views in batch['inputs'].values() for view in views} == {(1, 3, size, size)}
    assert len(batch['inputs']['labeled']) == (2 if config == 'simpro_r50' else 1)


def test_missing_class_file():
    write_imagenet()
    Path('data/imagenet127.txt').unlink()
    with pytest.raises(FileNotFoundError, match='data/imagenet/imagenet127.txt does not exist. Write a line "<WordNet'):
        ImageNet127()


def test_missing_images():
    write_imagenet()
    Path('data/imagenet/train/n02/n02_3.JPEG').unlink()
    with pytest.raises(InputError, match='train is not the train split of ImageNet: expected 8 images, but got 7'):
        ImageNet127()


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        ([*LINES[:3], 'n04'], "line 4: expected '<WordNet id> <super-class>', but got 'n04'"),
        (['', *LINES], "line 1: expected '<WordNet id> <super-class>', but got ''"),
        ([*LINES, 'n02 cat'], "line 5: expected each WordNet id once, but got 'n02 cat'"),
        (LINES[:3], 'expected 4 WordNet ids in 3 super-classes, but got 3 in 2'),
        ([*LINES[:3], 'n04 fish'], 'but got 4 in 2'),
    ],
)
def test_invalid_class_files(lines, message):
    write_imagenet(lines=lines)
    with pytest.raises(InputError, match=message):
        ImageNet127()


def test_read_super_classes():
    Path('classes.txt').write_text('n01 fish\nn02   sea  lion \n')
    assert read_super_classes(Path('classes.txt')) == dict(n01='fish', n02='sea  lion')


def test_invalid_split():
    with pytest.raises(ValueError, match="`split`.* got 'test'"):
        ImageNet127('test')


def test_published_numbers(monkeypatch):
    monkeypatch.undo()
    assert (ImageNet127.num_wnids, ImageNet127.num_classes) == (1000, 127)
    assert ImageNet127.num_images == {'train': 1_281_167, 'val': 50_000}
