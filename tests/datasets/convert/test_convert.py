import json

import numpy as np
import pytest
from PIL import Image

from ltmm.datasets.convert import read_annotations, write_annotations
from ltmm.datasets.convert.coco import polygon_area
from ltmm.utils.errors import InputError

CLASSES = ('ant', 'bee', 'cow é')
SQUARE = [2, 3, 12, 3, 12, 13, 2, 13]
TRIANGLE = [20, 20, 30, 20, 20, 28]
OBJECTS = [  # image, label, box, segmentation
    (0, 0, [2, 3, 10, 10], [SQUARE]),
    (0, 1, [20, 20, 10, 8], [TRIANGLE]),
    (1, 1, [0, 0, 40, 30], [[0, 0, 40, 0, 40, 30, 0, 30]]),
]


@pytest.fixture
def images(tmp_path):
    """Three images of 40 x 30 pixels, the last without objects."""
    for name in ('a.jpg', 'sub/b.png', 'c.jpg'):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((30, 40, 3), 128, np.uint8)).save(path)
    return tmp_path / 'images'


def coco(objects=OBJECTS, names=('a.jpg', 'sub/b.png', 'c.jpg'), masks=True, **extra) -> dict:
    return dict(
        images=[dict(id=i, file_name=name, width=40, height=30) for i, name in enumerate(names)],
        annotations=[
            dict(id=i, image_id=image, category_id=label + 5, bbox=box, area=box[2] * box[3], iscrowd=0, **extra)
            | (dict(segmentation=mask) if masks else {})
            for i, (image, label, box, mask) in enumerate(objects)
        ],
        categories=[dict(id=i + 5, name=name) for i, name in enumerate(CLASSES)],
    )


def read_coco(tmp_path, images, content):
    (tmp_path / 'source.json').write_text(json.dumps(content))
    return read_annotations(tmp_path / 'source.json', 'coco', images)


def objects_of(annotations) -> dict:
    """Objects by image: label, box and area of the mask, rounded."""

    def row(item):
        area = None if item.mask is None else round(sum(map(polygon_area, item.mask)), 2)
        return item.label, *(round(value, 2) + 0 for value in item.box), area, item.is_ignored

    return {image.name.removeprefix('images/'): sorted(map(row, image.objects)) for image in annotations.images}


@pytest.mark.parametrize('masks', [False, True])
@pytest.mark.parametrize('format', ['coco', 'yolo', 'voc'])
def test_round_trip(format, masks, tmp_path, images):
    source = read_coco(tmp_path, images, coco(masks=masks))
    out = tmp_path / ('out.json' if format == 'coco' else 'out')
    losses = write_annotations(source, format, out)
    again = read_annotations(out, format, images if format == 'coco' else None)
    expected = objects_of(source)
    if format == 'voc':
        expected = {name: [(*row[:5], None, row[6]) for row in rows] for name, rows in expected.items()}
        lost = ['3 masks are lost: VOC has boxes.'] * masks + ['1 classes without objects are lost: VOC has no list']
        assert [line[:50] for line in losses] == [line[:50] for line in lost]
        assert again.classes == CLASSES[:2]
    else:
        assert losses == []
        assert again.classes == CLASSES
    assert objects_of(again) == expected
    assert [image.size for image in again.images] == [(40, 30)] * 3


def test_voc_boxes_are_those_of_the_dataset(tmp_path, images):
    datasets = pytest.importorskip('mmdet.datasets')
    assert datasets
    from ltmm.datasets import LVISDataset, VOCDataset

    source = read_coco(tmp_path, images, coco(masks=False))
    write_annotations(source, 'voc', tmp_path / 'voc')
    write_annotations(read_annotations(tmp_path / 'voc', 'voc'), 'coco', tmp_path / 'again.json')
    voc = VOCDataset(ann_file='ImageSets/Main/all.txt', data_root=str(tmp_path / 'voc'),
                     data_prefix=dict(sub_data_root=''))  # fmt: skip
    json_ = LVISDataset(ann_file=str(tmp_path / 'again.json'), data_prefix=dict(img=str(images)))
    assert voc.metainfo['classes'] == json_.metainfo['classes']

    def boxes(dataset):
        records = [dataset.get_data_info(i) for i in range(len(dataset))]
        return {
            record['img_path'].rpartition('/')[2]: [
                (item['bbox_label'], list(item['bbox'])) for item in record['instances']
            ]
            for record in records
        }

    assert boxes(voc) == boxes(json_)


def test_boxes_become_labels(tmp_path, images):
    content = coco()
    content['annotations'][1]['iscrowd'] = 1
    source = read_coco(tmp_path, images, content)
    losses = write_annotations(source, 'csv', tmp_path / 'out.csv')
    assert losses == ['The places of 3 objects are lost: a CSV file has labels of images.']
    rows = (tmp_path / 'out.csv').read_text().split()
    assert ' '.join(rows) == 'image,ant,bee,cow é a.jpg,1,,0 sub/b.png,0,1,0 c.jpg,0,0,0'
    again = read_annotations(tmp_path / 'out.csv', 'csv', images)
    assert again.states().tolist() == source.states().tolist() == [[1, -1, 0], [0, 1, 0], [0, 0, 0]]


def test_lvis_keeps_unknown_labels(tmp_path, images):
    content = coco()
    for image in content['images']:
        image |= dict(neg_category_ids=[7], coco_url='http://x/' + image['file_name'])
    source = read_coco(tmp_path, images, content)
    assert source.states().tolist() == [[1, 1, 0], [-1, 1, 0], [-1, -1, 0]]


def test_folders_and_csv(tmp_path, images):
    (tmp_path / 'list.csv').write_text('image,label\na.jpg,ant\nsub/b.png,bee\nc.jpg,ant\n')
    source = read_annotations(tmp_path / 'list.csv', 'csv', images)
    assert write_annotations(source, 'folders', tmp_path / 'folders') == []
    assert (tmp_path / 'folders/ant/a.jpg').resolve() == images / 'a.jpg'
    folders = read_annotations(tmp_path / 'folders', 'folders')
    assert folders.classes == ('ant', 'bee')
    assert {im.name: im.states.tolist() for im in folders.images} == {
        'ant/a.jpg': [1, 0], 'ant/c.jpg': [1, 0], 'bee/sub/b.png': [0, 1]
    }  # fmt: skip
    write_annotations(folders, 'csv', tmp_path / 'again.csv')
    assert (tmp_path / 'again.csv').read_text().split() == ['image,label', 'ant/a.jpg,ant', 'ant/c.jpg,ant',
                                                            'bee/sub/b.png,bee']  # fmt: skip
    write_annotations(read_annotations(tmp_path / 'again.csv', 'csv', tmp_path / 'folders'), 'folders',
                      tmp_path / 'copies', copy=True)  # fmt: skip
    assert (tmp_path / 'copies/bee/sub/b.png').read_bytes() == (images / 'sub/b.png').read_bytes()
    assert not (tmp_path / 'copies/bee/sub/b.png').is_symlink()


def test_masks_of_several_parts_keep_their_area(tmp_path, images):
    source = read_coco(tmp_path, images, coco([(0, 0, [2, 3, 28, 25], [SQUARE, TRIANGLE])]))
    losses = write_annotations(source, 'yolo', tmp_path / 'out')
    assert losses == ['1 masks of several parts became one polygon, joined by lines of no width.']
    (item,) = read_annotations(tmp_path / 'out', 'yolo').images[0].objects
    assert len(item.mask) == 1
    assert polygon_area(item.mask[0]) == pytest.approx(100 + 40, abs=0.01)
    assert item.box == pytest.approx((2, 3, 28, 25), abs=0.01)


def test_run_length_masks_and_crowds(tmp_path, images):
    coco_mask = pytest.importorskip('pycocotools.mask')
    mask = np.zeros((30, 40), np.uint8, order='F')
    mask[5:15, 10:30] = 1
    code = coco_mask.encode(mask)
    content = coco([(0, 0, [10, 5, 20, 10], dict(size=[30, 40], counts=code['counts'].decode()))])
    crowd = dict(content['annotations'][0], id=9, iscrowd=1)
    content['annotations'].append(crowd)
    source = read_coco(tmp_path, images, content)
    assert write_annotations(source, 'yolo', tmp_path / 'out') == [
        '1 crowd or difficult objects are left out: YOLO has no mark for them.',
        '1 run-length masks became the polygons of their outlines, without holes.',
    ]
    (item,) = read_annotations(tmp_path / 'out', 'yolo').images[0].objects
    assert item.box == pytest.approx((10, 5, 19, 9), abs=0.01)  # the outline runs through the middle of pixels
    write_annotations(source, 'coco', tmp_path / 'again.json')
    again = json.loads((tmp_path / 'again.json').read_text())['annotations']
    assert [(a['segmentation'], a['area'], a['iscrowd']) for a in again] == [
        (content['annotations'][0]['segmentation'], 200, 0), (crowd['segmentation'], 200, 1)
    ]  # fmt: skip


def yolo_folder(tmp_path, images, labels='0 0.5 0.5 0.25 0.5\n', names='names: [ant, bee]\n', file='data.yaml'):
    folder = tmp_path / 'yolo'
    (folder / 'labels/sub').mkdir(parents=True)
    (folder / 'images').symlink_to(images)
    (folder / file).write_text(names)
    (folder / 'labels/a.txt').write_text(labels)
    return folder


@pytest.mark.parametrize(
    'file, names', [('data.yaml', 'names: {1: bee, 0: ant}\nnc: 2'), ('classes.txt', 'ant\n\nbee\n')]
)
def test_yolo_layouts(file, names, tmp_path, images):
    folder = yolo_folder(tmp_path, images, names=names, file=file)
    (folder / 'labels/c.txt').touch()
    (folder / 'labels/sub/b.txt').touch()
    annotations = read_annotations(folder, 'yolo')
    assert annotations.classes == ('ant', 'bee')
    assert objects_of(annotations) == {'a.jpg': [(0, 15, 7.5, 10, 15, None, False)], 'c.jpg': [], 'sub/b.png': []}
    assert read_annotations(folder, 'yolo', split='sub').summary() == '1 images, 0 objects, 2 classes'


def test_yolo_beside_the_images(tmp_path, images):
    (images / 'classes.txt').write_text('ant\n')
    (images / 'a.txt').write_text('0 0.5 0.5 1 1')
    assert objects_of(read_annotations(images, 'yolo'))['a.jpg'] == [(0, 0, 0, 40, 30, None, False)]


@pytest.mark.parametrize(
    'labels, message',
    [
        ('0 0.5 0.5 0.25\n', 'a.txt, line 1: expected a class and 4 numbers.* but got 3'),
        ('\n0 0.5 0.5 30 0.5\n', 'a.txt, line 2: expected coordinates as shares of the image, 0 to 1, but got 30.0'),
        ('0 0.5 -0.5 0.3 0.5\n', 'but got -0.5'),
        ('0 nan 0.5 0.3 0.5\n', 'but got nan'),
        ('2 0.5 0.5 0.3 0.5\n', 'expected a class from 0 to 1, but got 2'),
        ('0.5 0.5 0.5 0.3 0.5\n', 'expected a class from 0 to 1, but got 0.5'),
        ('-1 0.5 0.5 0.3 0.5\n', 'expected a class from 0 to 1, but got -1'),
        ('ant 0.5 0.5 0.3 0.5\n', "expected numbers, but got 'ant"),
    ],
)
def test_invalid_yolo_labels(labels, message, tmp_path, images):
    with pytest.raises(InputError, match=message):
        read_annotations(yolo_folder(tmp_path, images, labels), 'yolo')


@pytest.mark.parametrize('names', ['names: 5', 'names: [[a], [b]]', '- a', 'names: [a', '!!python/object:os.system {}'])
def test_invalid_yolo_names(names, tmp_path, images):
    with pytest.raises(InputError, match=r'data.yaml'):
        read_annotations(yolo_folder(tmp_path, images, names=names), 'yolo')


@pytest.mark.parametrize('name', ['../a.jpg', '/etc/passwd', 'sub/../../a.jpg', 'C:\\a.jpg', '..\\a.jpg', 'C:/a.jpg'])
def test_paths_out_of_the_folder(name, tmp_path, images):
    with pytest.raises(InputError, match='is not a path inside the folder of the images'):
        read_coco(tmp_path, images, coco(names=('a.jpg', name, 'c.jpg')))


def test_class_names_that_are_no_folders(tmp_path, images):
    (tmp_path / 'list.csv').write_text('image,label\na.jpg,../../ant\n')
    with pytest.raises(InputError, match='to be a file name'):
        write_annotations(read_annotations(tmp_path / 'list.csv', 'csv', images), 'folders', tmp_path / 'out')


def test_refusals(tmp_path, images):
    source = read_coco(tmp_path, images, coco())
    with pytest.raises(InputError, match='2 of 3 images have several or none, a.jpg first. Choose --to csv'):
        write_annotations(source, 'folders', tmp_path / 'out')
    (tmp_path / 'list.csv').write_text('image,label\na.jpg,ant\n')
    with pytest.raises(InputError, match='The format yolo holds boxes, but the source has labels of images only'):
        write_annotations(read_annotations(tmp_path / 'list.csv', 'csv', images), 'yolo', tmp_path / 'out')
    with pytest.raises(InputError, match='list.csv exists'):
        write_annotations(source, 'csv', tmp_path / 'list.csv')
    with pytest.raises(InputError, match='images exists and is not empty'):
        write_annotations(source, 'yolo', images)
    with pytest.raises(InputError, match='--out to be a .json file'):
        write_annotations(source, 'coco', tmp_path / 'out')
    (images / 'c.jpg').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 3 images are missing, .*c.jpg first. Set --images-from'):
        write_annotations(source, 'voc', tmp_path / 'out')
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'images',
        'list.csv',
        'source.json',
    ]


def test_classes_are_chosen(tmp_path, images):
    (tmp_path / 'source.json').write_text(json.dumps(coco()))
    annotations = read_annotations(tmp_path / 'source.json', 'coco', images, classes=['bee'])
    assert objects_of(annotations)['a.jpg'] == [(0, 20, 20, 10, 8, 40, False)]


def test_classes_of_a_csv_file_are_chosen(tmp_path, images):
    def read(content, classes):
        (tmp_path / 'list.csv').write_text(content)
        annotations = read_annotations(tmp_path / 'list.csv', 'csv', images, classes=classes)
        return annotations.classes, {image.name: image.states.tolist() for image in annotations.images}

    single = 'image,label\na.jpg,ant\nsub/b.png,bee\nc.jpg,cow\n'
    assert read(single, ['cow', 'ant']) == (('cow', 'ant'), {'a.jpg': [0, 1], 'c.jpg': [1, 0]})
    assert read('image,label\na.jpg,1\nc.jpg,0\n', ['cow', 'ant'])[1] == {'a.jpg': [0, 1], 'c.jpg': [1, 0]}
    assert read('image,labels\na.jpg,ant|bee\nc.jpg,cow\n', ['bee'])[1] == {'a.jpg': [1], 'c.jpg': [0]}
    assert read('image,age,ant,bee\na.jpg,70,1,\n', ['bee'])[1] == {'a.jpg': [-1]}
    with pytest.raises(InputError, match="has no class 'bees'; it has ant, bee, cow"):
        read(single, ['ant', 'bees'])
    with pytest.raises(InputError, match="line 2: 'ant' is not one of the 1 classes"):
        read(single, ['bees'])


def test_one_class_survives_a_csv_file(tmp_path, images):
    (tmp_path / 'source.json').write_text(json.dumps(coco()))
    source = read_annotations(tmp_path / 'source.json', 'coco', images, classes=['bee'])
    write_annotations(source, 'csv', tmp_path / 'out.csv')
    again = read_annotations(tmp_path / 'out.csv', 'csv', images, classes=['bee'])
    assert again.states().tolist() == source.states().tolist() == [[1], [1], [0]]


@pytest.mark.parametrize('name', ['U', 'nan', '-1', 'a|b'])
def test_names_that_a_csv_file_cannot_hold(name, tmp_path, images):
    (tmp_path / 'photos' / name).mkdir(parents=True)
    (images / 'a.jpg').rename(tmp_path / 'photos' / name / 'a.jpg')
    with pytest.raises(InputError, match='reads as no label, or as several. Rename it'):
        write_annotations(read_annotations(tmp_path / 'photos', 'folders'), 'csv', tmp_path / 'out.csv')


@pytest.mark.parametrize('masks', [False, True])
def test_objects_out_of_the_image_are_cut_for_yolo(masks, tmp_path, images):
    square = [-2, 20, 8, 20, 8, 34, -2, 34]
    far = [50, 5, 60, 5, 60, 9, 50, 9]
    source = read_coco(tmp_path, images, coco([(0, 0, [-2, 20, 10, 14], [square]), (0, 1, [50, 5, 10, 4], [far])],
                                              masks=masks))  # fmt: skip
    assert write_annotations(source, 'yolo', tmp_path / 'out') == [
        '1 objects reach out of their image and are cut at its border.',
        '1 objects have no area inside their image and are left out.',
    ]
    (item,) = read_annotations(tmp_path / 'out', 'yolo').images[0].objects
    assert item.box == pytest.approx((0, 20, 8, 10), abs=0.01)


def test_repeated_classes(tmp_path, images):
    with pytest.raises(InputError, match="two classes are called 'ant'"):
        read_annotations(yolo_folder(tmp_path, images, names='names: [ant, bee, ant]\n'), 'yolo')
    (tmp_path / 'yolo/data.yaml').write_text('names: [ant, bee]\n')
    with pytest.raises(InputError, match="--classes: two classes are called 'ant'"):
        read_annotations(tmp_path / 'yolo', 'yolo', classes=['ant', 'ant'])


def test_current_folder_is_written_to(tmp_path, images, monkeypatch):
    source = read_coco(tmp_path, images, coco())
    (tmp_path / 'new').mkdir()
    monkeypatch.chdir(tmp_path / 'new')
    write_annotations(source, 'yolo', '.')
    assert (tmp_path / 'new/data.yaml').is_file()
