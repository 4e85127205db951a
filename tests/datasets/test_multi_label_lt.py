import json
from pathlib import Path

import numpy as np
import pytest

from ltmm.datasets import COCOMLT, VOCMLT, class_distribution_of
from ltmm.datasets.labels.lvis_annotations import AnnotationFileError


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('LTMM_DATA_ROOT', raising=False)


def label_sets(counts, num_images) -> list[list[int]]:
    """Labels of ``num_images`` images that hold the classes as often as ``counts`` says."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return [labels[i::num_images].tolist() for i in range(num_images)]


def write_coco(sets, list_name='data/coco_mlt/img_id.txt', extra_images=2, crowd_class=None) -> None:
    """COCO with the images of ``sets`` and others that are not in the list."""
    folder = Path('data/coco')
    for name in ('annotations', 'train2017', 'val2017'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    images = [dict(id=3 * i + 7, width=4, height=4, file_name=f'{i:012}.jpg') for i in range(len(sets) + extra_images)]
    annotations = [
        dict(image_id=image['id'], category_id=c + 1 + (c > 10), iscrowd=int(c == crowd_class), bbox=[0] * 4, area=1)
        for image, labels in zip(images, [*sets, *[[0]] * extra_images])
        for c in labels
    ]
    annotations = [dict(ann, id=i) for i, ann in enumerate(annotations)]
    categories = [dict(id=c + 1 + (c > 10), name=f'c{c}') for c in range(80)]
    content = json.dumps(dict(images=images, annotations=annotations, categories=categories))
    (folder / 'annotations/instances_train2017.json').write_text(content)
    for image in images:
        (folder / 'train2017' / image['file_name']).touch()
    path = Path(list_name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join(str(image['id']) for image in images[: len(sets)]))


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


def test_published_facts():
    coco, voc = (np.array(cls.splits['train'].counts) for cls in (COCOMLT, VOCMLT))
    assert (len(coco), coco.sum(), coco.max(), coco.min()) == (80, 8316, 1128, 6)
    assert (len(voc), voc.sum(), voc.max(), voc.min()) == (20, 2346, 775, 4)
    assert [((n >= 100).sum(), (n < 20).sum()) for n in (coco, voc)] == [(22, 25), (6, 8)]  # head, tail
    assert VOCMLT.METAINFO['classes'] == tuple(sorted(VOCMLT.METAINFO['classes']))


def test_coco_mlt_takes_the_listed_images_and_counts_them():
    write_coco(COCO_SETS)
    dataset = COCOMLT(serialize_data=False)
    assert len(dataset) == 1909
    distribution = class_distribution_of(dataset)
    assert tuple(distribution.image_counts) == COCOMLT.splits['train'].counts
    assert dataset.get_data_info(3)['img_path'] == 'data/coco/train2017/000000000003.jpg'


def test_coco_mlt_with_other_labels_is_refused():
    write_coco(COCO_SETS, crowd_class=5)
    COCOMLT(serialize_data=False)  # crowd regions count
    with pytest.raises(AnnotationFileError, match="1 classes have another: class 5 has 0, not 41 .*'negative'"):
        COCOMLT(difficult_as='negative')
    lines = Path('data/coco_mlt/img_id.txt').read_text().splitlines()
    for wrong, message in (
        (lines[:-1], 'expected 1909 images for training, but got 1908. Fetch img_id.txt from github.com/wutong16'),
        ([*lines[:-1], '5734'], 'the published number of images of each class, but .* classes have another: class 0'),
        ([*lines[:-1], '1'], 'has not 1 of the 1909 images, 1 first'),
        ([*lines[:-1], '2008_1'], "expected ids of images of COCO in the list, but got '2008_1'"),
        ([*lines[:-1], lines[0]], '7 comes twice'),
    ):
        Path('data/coco_mlt/img_id.txt').write_text('\n'.join(wrong))
        with pytest.raises(AnnotationFileError, match=message):
            COCOMLT()


def test_what_is_missing_is_named_with_its_archive_and_place():
    with pytest.raises(FileNotFoundError) as error:
        COCOMLT()
    expected = f'instances_train2017.json is not there.\nCOCO-MLT: unpack into {Path("data/coco").absolute()}'
    assert expected in str(error.value) and 'train2017.zip and annotations_trainval2017.zip' in str(error.value)
    write_coco(COCO_SETS[:3])
    Path('data/coco_mlt/img_id.txt').unlink()
    with pytest.raises(FileNotFoundError) as error:
        COCOMLT()
    assert 'Fetch img_id.txt from github.com/wutong16/DistributionBalancedLoss, folder appendix/coco/longtail2017' in (
        str(error.value)
    )
    assert f'put it into {Path("data/coco_mlt").absolute()}, or say where it is by list_file=PATH' in str(error.value)


def test_missing_images_are_named_with_their_archive():
    write_voc(VOC_SETS, missing=2)
    with pytest.raises(FileNotFoundError, match='2 of the 1142 images are not in') as error:
        VOCMLT()
    assert 'VOCtrainval_11-May-2012.tar' in str(error.value)
    assert len(VOCMLT(check_files=False)) == 1142


def test_voc_mlt_counts_difficult_objects():
    write_voc(VOC_SETS)
    dataset = VOCMLT(serialize_data=False)
    assert tuple(class_distribution_of(dataset).image_counts) == VOCMLT.splits['train'].counts
    with pytest.raises(AnnotationFileError, match="but 20 classes have another: .*difficult_as='negative'"):
        VOCMLT(difficult_as='negative')


def test_the_test_sets_are_whole():
    write_voc(VOC_SETS)
    with pytest.raises(FileNotFoundError, match='VOCtest_06-Nov-2007.tar'):
        VOCMLT('test')
    folder = Path('data/VOCdevkit/VOC2007')
    for name in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True)
    (folder / 'Annotations/000001.xml').write_text('<annotation/>')
    (folder / 'ImageSets/Main/test.txt').write_text('000001\n')
    with pytest.raises(AnnotationFileError, match='got 1. Fetch the folder VOC2007 of VOCtest'):
        VOCMLT('test')


def test_wrong_options_are_refused():
    with pytest.raises(ValueError, match=r"`split` to be one of \['test', 'train'\], but got 'val'"):
        COCOMLT('val')
    with pytest.raises(ValueError, match="`list_file` belongs to the training images, but got it with split='test'"):
        VOCMLT('test', list_file='img_id.txt')
    write_voc(VOC_SETS)
    with pytest.raises(AnnotationFileError, match='VOC-MLT has 20 classes, but got 1'):
        VOCMLT(metainfo=dict(classes=('dog',)))
