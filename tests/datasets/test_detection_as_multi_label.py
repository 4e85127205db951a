import json
from pathlib import Path

import numpy as np
import pytest
from toy import ROOT

from ltmm.datasets import DetectionAsMultiLabel, class_distribution_of
from ltmm.datasets.labels.lvis_annotations import AnnotationFileError

CLASSES = ('kite', 'mug', 'oar')
IDS = (2, 5, 9)  # in another order in the file


def coco(federated=False) -> dict:
    """Image 10 has two kites and an oar; 11 a crowd region of oar, and a mug; 12 is empty."""
    pairs = [(10, 2, 0), (10, 2, 0), (10, 9, 0), (11, 9, 1), (11, 5, 0), (11, 5, 1)]
    annotations = [
        dict(id=i, image_id=image, category_id=category, bbox=[0, 0, 2, 2], area=4, iscrowd=crowd)
        for i, (image, category, crowd) in enumerate(pairs)
    ]
    images = [dict(id=i, width=4, height=4, file_name=f'{i}.jpg') for i in (10, 11, 12)]
    if federated:
        for image, negative in zip(images, ([5], [], [2, 9])):
            image.update(
                neg_category_ids=negative,
                not_exhaustive_category_ids=[],
                coco_url=f'http://images.cocodataset.org/train2017/{image["id"]}.jpg',
            )
    categories = [dict(id=i, name=name) for i, name in zip(IDS, CLASSES)][::-1]
    return dict(images=images, annotations=annotations, categories=categories)


def write(folder: Path, content: dict, images='') -> None:
    (folder / images).mkdir(parents=True, exist_ok=True)
    for image in content['images']:
        (folder / images / f'{image["id"]}.jpg').touch()
    (folder / 'a.json').write_text(json.dumps(content))


def read(folder, **options) -> DetectionAsMultiLabel:
    return DetectionAsMultiLabel('a.json', data_root=str(folder), serialize_data=False, **options)


def states(dataset) -> list[list[int]]:
    return [dataset.get_data_info(i)['gt_score'].astype(int).tolist() for i in range(len(dataset))]


@pytest.mark.parametrize('difficult_as, state', [('positive', 1), ('negative', 0), ('unknown', -1)])
def test_coco(tmp_path, difficult_as, state):
    write(tmp_path, coco())
    dataset = read(tmp_path, difficult_as=difficult_as)
    assert dataset.metainfo['classes'] == CLASSES
    assert states(dataset) == [[1, 0, 1], [0, 1, state], [0, 0, 0]]
    assert dataset.get_data_info(1)['img_path'] == str(tmp_path / '11.jpg')
    assert dataset.get_data_info(0)['gt_score'].dtype == np.float32
    assert dataset.get_cat_ids(0) == [0, 2]


@pytest.mark.parametrize('unlisted_as, state', [(None, -1), ('unknown', -1), ('negative', 0)])
def test_lvis(tmp_path, unlisted_as, state):
    write(tmp_path, coco(federated=True), 'train2017')
    dataset = read(tmp_path, unlisted_as=unlisted_as)
    assert states(dataset) == [[1, 0, 1], [state, 1, 1], [0, state, 0]]
    assert dataset.get_data_info(1)['img_path'] == str(tmp_path / 'train2017/11.jpg')


def test_boxes_are_optional(tmp_path):
    content = coco()
    for annotation in content['annotations']:
        del annotation['bbox'], annotation['area']
    write(tmp_path, content)
    assert states(read(tmp_path)) == [[1, 0, 1], [0, 1, 1], [0, 0, 0]]


def test_counts_and_keep_empty(tmp_path):
    write(tmp_path, coco())
    distribution = class_distribution_of(read(tmp_path), co_occurrence=True)
    assert distribution.instance_counts.tolist() == [1, 1, 2]
    assert distribution.co_occurrence.tolist() == [[1, 0, 1], [0, 1, 1], [1, 1, 2]]
    assert len(read(tmp_path, keep_empty=False)) == 2


def test_selected_classes(tmp_path):
    write(tmp_path, coco(federated=True), 'train2017')
    dataset = read(tmp_path, metainfo=dict(classes=('oar', 'kite')))
    assert states(dataset) == [[1, 1], [1, -1], [0, 0]]
    with pytest.raises(AnnotationFileError, match="got 'cup'"):
        read(tmp_path, metainfo=dict(classes=('oar', 'cup')))


def test_no_annotations(tmp_path):
    content = dict(coco(), annotations=[])
    write(tmp_path, content)
    assert states(read(tmp_path)) == [[0, 0, 0]] * 3
    with pytest.raises(ValueError, match='a.json has no images with a positive label'):
        read(tmp_path, keep_empty=False)


def test_missing_images(tmp_path):
    write(tmp_path, coco())
    (tmp_path / '11.jpg').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 3 images are missing, .*11.jpg first. Set `data_root`'):
        read(tmp_path)
    assert len(read(tmp_path, check_files=False)) == 3


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda c: c['images'][1].pop('neg_category_ids'), '1 of 3 images lack .*, 11 first'),
        (lambda c: c['images'][0].update(neg_category_ids=[2, 3]), "'neg_category_ids' lists an id .*'id': 10"),
        (lambda c: c.update(categories=[], annotations=[]), 'a.json has no categories'),
        (lambda c: c['annotations'][0].update(category_id=4), "'category_id' is not in `categories`"),
    ],
)
def test_invalid_files(tmp_path, change, message):
    content = coco(federated=True)
    change(content)
    write(tmp_path, content, 'train2017')
    with pytest.raises(AnnotationFileError, match=message):
        read(tmp_path)


@pytest.mark.parametrize(
    'options, error, message',
    [
        (dict(unlisted_as='negative'), AnnotationFileError, '`unlisted_as` is for federated files'),
        (dict(unlisted_as='maybe'), ValueError, '`unlisted_as`'),
        (dict(difficult_as='maybe'), ValueError, '`difficult_as`'),
    ],
)
def test_invalid_options(tmp_path, options, error, message):
    write(tmp_path, coco())
    with pytest.raises(error, match=message):
        read(tmp_path, **options)


def test_annotation_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='a.json does not exist'):
        read(tmp_path)
    with pytest.raises(ValueError, match="got 'a.xml'"):
        DetectionAsMultiLabel('a.xml')


# ------------------------------------------------------------------ Pascal VOC

PREFIX = dict(img_path='JPEGImages', ann_path='Annotations')
OBJECTS = {'2008_1': [('dog', 0), ('cat', 1), ('dog', 1)], '2008_2': [('cat', 1), ('cat', 0)], '2008_3': []}


def write_voc(folder: Path) -> None:
    for name in PREFIX.values():
        (folder / name).mkdir()
    for name, objects in OBJECTS.items():
        (folder / 'JPEGImages' / f'{name}.jpg').touch()
        items = ''.join(f'<object><name>{n}</name><difficult>{d}</difficult></object>' for n, d in objects)
        (folder / 'Annotations' / f'{name}.xml').write_text(f'<annotation>{items}</annotation>')
    (folder / 'list.txt').write_text('\n'.join(OBJECTS) + '\n')


def read_voc(folder, **options) -> DetectionAsMultiLabel:
    options = dict(dict(data_prefix=PREFIX, serialize_data=False), **options)
    return DetectionAsMultiLabel('list.txt', data_root=str(folder), **options)


@pytest.mark.parametrize('difficult_as, state', [('positive', 1), ('negative', 0), ('unknown', -1)])
def test_voc(tmp_path, difficult_as, state):
    write_voc(tmp_path)
    dataset = read_voc(tmp_path, difficult_as=difficult_as)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert states(dataset) == [[state, 1], [1, 0], [0, 0]]
    assert dataset.get_data_info(1)['img_path'] == str(tmp_path / 'JPEGImages/2008_2.jpg')
    assert states(read_voc(tmp_path, metainfo=dict(classes=('emu', 'dog')))) == [[0, 1], [0, 0], [0, 0]]


def test_invalid_voc_files(tmp_path):
    write_voc(tmp_path)
    (tmp_path / 'Annotations/2008_2.xml').write_text('<annotation><object></annotation>')
    with pytest.raises(AnnotationFileError, match='2008_2.xml is not a Pascal VOC annotation'):
        read_voc(tmp_path)
    (tmp_path / 'Annotations/2008_2.xml').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 3 annotation files are not in .*, 2008_2.xml first'):
        read_voc(tmp_path)
    (tmp_path / 'list.txt').write_text('2008_1\n2008_3\n2008_1\n')
    with pytest.raises(AnnotationFileError, match='lists 2008_1 more than once'):
        read_voc(tmp_path)


def test_invalid_voc_options(tmp_path):
    with pytest.raises(ValueError, match='`unlisted_as` is for LVIS'):
        read_voc(tmp_path, unlisted_as='negative')
    with pytest.raises(ValueError, match='`data_prefix`'):
        read_voc(tmp_path, data_prefix='JPEGImages')


@pytest.mark.skipif(not (ROOT / 'data/lvis_mini').is_dir(), reason='the 60-photo LVIS set is not in data/lvis_mini')
def test_real_photos():
    ann_file = ROOT / 'data/lvis_mini/annotations/lvis_v1_train.json'
    content = json.loads(ann_file.read_text())
    dataset = DetectionAsMultiLabel(str(ann_file), data_root=str(ROOT / 'data/lvis_mini'))
    counts = class_distribution_of(dataset).image_counts
    held = {(ann['image_id'], ann['category_id']) for ann in content['annotations']}
    for count, category in zip(counts, sorted(content['categories'], key=lambda c: c['id'])):
        assert count == sum(c == category['id'] for _, c in held)
    assert len(dataset) == 33 and counts.sum() == len(held)
