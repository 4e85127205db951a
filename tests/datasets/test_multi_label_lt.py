import json
from pathlib import Path

import numpy as np
import pytest

from ltmm.datasets import COCOMLT, VOCMLT, class_distribution_of
from ltmm.datasets.labels.lvis_annotations import AnnotationFileError

pytestmark = pytest.mark.usefixtures('empty_folder')


def label_sets(counts, num_images) -> list[list[int]]:
    """Distribute ``counts[c]`` labels of class c over ``num_images`` images."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return [labels[i::num_images].tolist() for i in range(num_images)]


def write_coco(sets, crowd_class=None) -> None:
    """Write COCO with the images of ``sets``, and two that are not in the list."""
    folder = Path('data/coco')
    for name in ('annotations', 'train2017', 'val2017'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    images = [dict(id=3 * i + 7, width=4, height=4, file_name=f'{i:012}.jpg') for i in range(len(sets) + 2)]
    annotations = [
        dict(image_id=image['id'], category_id=c + 1 + (c > 10), iscrowd=int(c == crowd_class), bbox=[0] * 4, area=1)
        for image, labels in zip(images, [*sets, [0], [0]])
        for c in labels
    ]
    annotations = [dict(ann, id=i) for i, ann in enumerate(annotations)]
    categories = [dict(id=c + 1 + (c > 10), name=f'c{c}') for c in range(80)]
    content = json.dumps(dict(images=images, annotations=annotations, categories=categories))
    (folder / 'annotations/instances_train2017.json').write_text(content)
    for image in images:
        (folder / 'train2017' / image['file_name']).touch()
    Path('data/coco_mlt').mkdir(exist_ok=True)
    Path('data/coco_mlt/img_id.txt').write_text('\n'.join(str(image['id']) for image in images[: len(sets)]))


def write_voc(sets, missing=0) -> None:
    names = VOCMLT.METAINFO['classes']
    for name in ('JPEGImages', 'Annotations'):
        Path('data/VOCdevkit/VOC2012', name).mkdir(parents=True)
    ids = [f'2008_{i:06}' for i in range(len(sets))]
    for i, (image_id, labels) in enumerate(zip(ids, sets)):
        objects = ''.join(f'<object><name>{names[c]}</name><difficult>{i % 2}</difficult></object>' for c in labels)
        Path(f'data/VOCdevkit/VOC2012/Annotations/{image_id}.xml').write_text(f'<annotation>{objects}</annotation>')
        if i >= missing:
            Path(f'data/VOCdevkit/VOC2012/JPEGImages/{image_id}.jpg').touch()
    Path('data/voc_mlt').mkdir()
    Path('data/voc_mlt/img_id.pkl').write_text('\n'.join(ids))


COCO_SETS = label_sets(COCOMLT.splits['train'].counts, 1909)
VOC_SETS = label_sets(VOCMLT.splits['train'].counts, 1142)


def test_published_counts():
    coco, voc = (np.array(cls.splits['train'].counts) for cls in (COCOMLT, VOCMLT))
    assert (len(coco), coco.sum(), coco.max(), coco.min()) == (80, 8316, 1128, 6)
    assert (len(voc), voc.sum(), voc.max(), voc.min()) == (20, 2346, 775, 4)
    assert [((n >= 100).sum(), (n < 20).sum()) for n in (coco, voc)] == [(22, 25), (6, 8)]  # many-shot, few-shot
    assert VOCMLT.METAINFO['classes'] == tuple(sorted(VOCMLT.METAINFO['classes']))


def test_coco_mlt():
    write_coco(COCO_SETS)
    dataset = COCOMLT(serialize_data=False)
    assert len(dataset) == 1909
    distribution = class_distribution_of(dataset)
    assert tuple(distribution.image_counts) == COCOMLT.splits['train'].counts
    assert dataset.get_data_info(3)['img_path'] == 'data/coco/train2017/000000000003.jpg'


def test_coco_mlt_with_other_labels():
    write_coco(COCO_SETS, crowd_class=5)
    COCOMLT(serialize_data=False)  # crowd regions count
    with pytest.raises(AnnotationFileError, match='1 classes differ .* class 5 with 0 in place of 41'):
        COCOMLT(difficult_as='negative')
    lines = Path('data/coco_mlt/img_id.txt').read_text().splitlines()
    for wrong, message in (
        (lines[:-1], 'expected 1909 train images, but got 1908. Download img_id.txt from github.com/wutong16'),
        ([*lines[:-1], '5734'], 'differ from the published number of images, class 0'),
        ([*lines[:-1], '1'], 'lacks 1 of 1909 images, 1 first'),
        ([*lines[:-1], '2008_1'], "image ids in the list, but got '2008_1'"),
        ([*lines[:-1], lines[0]], 'lists 7 more than once'),
    ):
        Path('data/coco_mlt/img_id.txt').write_text('\n'.join(wrong))
        with pytest.raises(AnnotationFileError, match=message):
            COCOMLT()


def test_missing_files():
    with pytest.raises(FileNotFoundError, match='instances_train2017.json .*coco/ under .*train2017.zip'):
        COCOMLT()
    write_coco(COCO_SETS[:3])
    Path('data/coco_mlt/img_id.txt').unlink()
    source = 'img_id.txt from github.com/wutong16/DistributionBalancedLoss, folder appendix/coco/longtail2017'
    with pytest.raises(FileNotFoundError, match=f'{source} into {Path("data/coco_mlt").absolute()}'):
        COCOMLT()
    write_voc(VOC_SETS, missing=2)
    with pytest.raises(FileNotFoundError, match='2 of 1142 images .*VOCtrainval_11-May-2012.tar'):
        VOCMLT()
    assert len(VOCMLT(check_files=False)) == 1142


def test_voc_mlt_counts_difficult_objects():
    write_voc(VOC_SETS)
    dataset = VOCMLT(serialize_data=False)
    assert tuple(class_distribution_of(dataset).image_counts) == VOCMLT.splits['train'].counts
    with pytest.raises(AnnotationFileError, match="20 classes differ .*difficult_as='negative'"):
        VOCMLT(difficult_as='negative')


def test_voc_test_set():
    write_voc(VOC_SETS)
    with pytest.raises(FileNotFoundError, match='VOCtest_06-Nov-2007.tar'):
        VOCMLT('test')
    folder = Path('data/VOCdevkit/VOC2007')
    for name in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True)
    (folder / 'Annotations/000001.xml').write_text('<annotation/>')
    (folder / 'ImageSets/Main/test.txt').write_text('000001\n')
    with pytest.raises(AnnotationFileError, match='got 1. Download the folder VOC2007 of VOCtest'):
        VOCMLT('test')


def test_invalid_options():
    with pytest.raises(ValueError, match="`split`.* got 'val'"):
        COCOMLT('val')
    with pytest.raises(ValueError, match="`list_file` is for the training images, but got split='test'"):
        VOCMLT('test', list_file='img_id.txt')
    write_voc(VOC_SETS)
    with pytest.raises(AnnotationFileError, match='VOC-MLT has 20 classes, but got 1'):
        VOCMLT(metainfo=dict(classes=('dog',)))
