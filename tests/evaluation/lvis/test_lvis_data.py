import json

import numpy as np
import pytest
import torch
from pycocotools import mask as mask_utils
from toy_lvis import CATEGORY_IDS, SIZE, lvis_content

from ltmm.datasets.labels.lvis_annotations import AnnotationFileError, read_lvis_annotations
from ltmm.evaluation.lvis.lvis_data import Detections, GroundTruth, encode_masks
from ltmm.evaluation.lvis.lvis_eval import LVISEvaluator


def ground_truth(content=None, masks=False):
    return GroundTruth.from_content(content or lvis_content(), 'file.json', masks)


# ------------------------------------------------------------------ objects


def test_objects_keep_the_order_of_the_file():
    content = lvis_content()
    objects = ground_truth(content)
    assert objects.boxes.tolist() == [a['bbox'] for a in content['annotations']]
    assert objects.images.tolist() == [a['image_id'] for a in content['annotations']]
    assert objects.absent.tolist()[:2] == [[10, 5], [10, 6]] and objects.masks is None
    assert not objects.ignore.any()


def test_polygons_and_run_length_codes():
    content = lvis_content()
    expected = mask_utils.decode(ground_truth(content, masks=True).masks[0])
    assert expected.sum() == content['annotations'][0]['area']
    flat = expected.flatten(order='F')
    counts = np.diff(np.flatnonzero(np.diff(np.concatenate([[-1], flat, [-1]])))).tolist()
    counts = counts if flat[0] == 0 else [0, *counts]
    packed = encode_masks(expected[None])[0]
    for segmentation in (dict(size=[SIZE, SIZE], counts=counts), dict(packed, counts=packed['counts'].decode())):
        content['annotations'][0]['segmentation'] = segmentation
        assert (mask_utils.decode(ground_truth(content, masks=True).masks[0]) == expected).all()


@pytest.mark.parametrize(
    'change, message',
    [
        (
            lambda c: c['annotations'][1].update(segmentation=dict(size=[64, 64], counts=[4000])),
            '2 has run lengths of 4',
        ),
        (
            lambda c: c['annotations'][1].update(segmentation=encode_masks(np.ones((1, 5, 7)))[0] | dict(counts='S1')),
            r'mask of annotation 2 has the size \[5, 7\], but its image \[64, 64\] \(height, width\)',
        ),
        (
            lambda c: c['annotations'][1].update(segmentation=[[1, 1, 5, 1, 5, 1e9]]),
            '2 has a polygon that is',
        ),
        (lambda c: c['images'][0].update(height='64'), '1 images whose height or width is'),
        (lambda c: c['images'][0].update(width=0), '1 images whose height or width is'),
    ],
)
def test_invalid_masks_of_annotations(tmp_path, change, message):
    content = lvis_content()
    change(content)
    path = tmp_path / 'file.json'
    path.write_text(json.dumps(content))
    with pytest.raises(AnnotationFileError, match=message):
        read_lvis_annotations(str(path), masks=True)
    read_lvis_annotations(str(path), boxes=False)


def test_polygons_with_fewer_than_three_points_are_dropped():
    content = lvis_content()
    expected = ground_truth(content, masks=True).masks[0]
    content['annotations'][0]['segmentation'].insert(0, [1, 1, 60, 60])  # which pycocotools takes for a box
    assert ground_truth(content, masks=True).masks[0] == expected
    content['annotations'][0]['segmentation'] = [[1, 1, 60, 60]]
    for polygon in ([1, 1, 60, 60], [1, 1, 60, 60, 5, 9, 7], []):
        content['annotations'][0]['segmentation'] = [polygon]
        with pytest.raises(ValueError, match='mask of annotation 1 has no polygon with three or more points'):
            ground_truth(content, masks=True)
    ground_truth(content)  # boxes alone


def replace_id(content, part, key):
    old = content[part][0]['id']
    content[part][0]['id'] = 'x'
    for annotation in content['annotations']:
        annotation[key] = 'x' if annotation[key] == old else annotation[key]


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda c: c['annotations'][1].update(bbox=[1, 1, 4, -1]), 'file.json has 1 annotations whose bbox has a neg'),
        (lambda c: c['annotations'][1].update(bbox=[1, 1, -4, -4]), "negative size. The first is number 1, {'id': 2"),
        (lambda c: replace_id(c, 'images', 'image_id'), '1 images whose id is not an integer'),
        (lambda c: replace_id(c, 'categories', 'category_id'), '1 categories whose id is not an integer'),
        (lambda c: c['images'][3].pop('neg_category_ids'), "1 images without the field 'neg_category_ids'.*{'id': 13}"),
    ],
)
def test_invalid_annotations(change, message):
    content = lvis_content()
    change(content)
    with pytest.raises(ValueError, match=message):
        ground_truth(content)


def test_object_without_width_is_never_detected():
    content = lvis_content(num_images=1)
    for annotation in content['annotations']:
        annotation['bbox'][2] = annotation['area'] = 0
    found = Detections(
        images=np.array([10, 10]),
        categories=np.array([a['category_id'] for a in content['annotations']]),
        scores=np.ones(2),
        boxes=np.array([a['bbox'] for a in content['annotations']], float),
    )
    result = LVISEvaluator(ground_truth(content), found, 'bbox').best_per_image()
    assert result.num_objects.sum() == 2 and result.figures(np.array(list('ffcr')))['AP'] == 0


def test_crowds_and_coco_format():
    content = lvis_content()
    for image in content['images']:
        del image['neg_category_ids'], image['not_exhaustive_category_ids']
    content['annotations'][2]['iscrowd'] = 1
    objects = ground_truth(content)
    assert objects.absent is None and len(objects.not_exhaustive) == 0
    assert np.flatnonzero(objects.ignore).tolist() == np.flatnonzero(objects.crowds).tolist() == [2]


# ------------------------------------------------------------------ detections


RECORD = dict(image_id=10, category_id=9, score=0.5, bbox=[1, 2, 3, 4])


def read(folder, records, **options):
    path = folder / 'found.json'
    path.write_text(records if isinstance(records, str) else json.dumps(records))
    return Detections.read(path, ground_truth(), **options)


def test_read_boxes_and_masks(tmp_path):
    found = read(tmp_path, [RECORD, dict(RECORD, bbox=[1, 2, -3, 4])])
    assert found.areas().tolist() == [12, 0] and found.categories.tolist() == [9, 9]
    mask = np.zeros((1, SIZE, SIZE), bool)
    mask[0, 5:9, 10:20] = True
    code = encode_masks(mask)[0]
    record = dict(image_id=10, category_id=2, score=1, segmentation=dict(code, counts=code['counts'].decode()))
    found = read(tmp_path, [record], masks=True)
    assert found.areas().tolist() == [40] and found.boxes.tolist() == [[10, 5, 10, 4]]


def test_read_an_empty_list(tmp_path):
    for masks in (False, True):
        found = read(tmp_path, [], masks=masks)
        evaluator = LVISEvaluator(ground_truth(masks=masks), found, 'segm' if masks else 'bbox')
        assert evaluator.best_per_image().figures(np.array(list('ffcr')))['AP'] == 0


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(image_id=999), '1 detections whose image_id is not in the annotation file. The first is number 1'),
        (dict(image_id='x'), 'image_id'),
        (dict(image_id=10.5), 'image_id'),
        (dict(image_id=[10]), 'image_id'),
        (dict(category_id=3), '1 detections whose category_id is not in the annotation file.* number 1'),
        (dict(category_id=None), 'category_id'),
        (dict(score=float('nan')), 'whose score is not a finite number'),
        (dict(score=None), 'score'),
        (dict(score=10**400), 'a number of 401 digits'),
        (dict(bbox=[1, 2, 3, 10**400]), 'a number of 401 digits'),
        (dict(score='0.5'), 'score'),
        (dict(bbox=[1, 2, float('nan'), 4]), r'whose bbox is not four finite numbers \[x, y, w, h\]'),
        (dict(bbox=[1, 2, 3]), r'number 1, .*\[1, 2, 3\]'),
        (dict(bbox=[[1, 2, 3, 4]]), 'bbox'),
        (dict(bbox=None), 'bbox'),
        (dict(bbox='1234'), 'bbox'),
    ],
)
def test_invalid_detection(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, [RECORD, RECORD | change])


@pytest.mark.parametrize(
    'records, masks, message',
    [
        ([{k: v for k, v in RECORD.items() if k != 'score'}] * 2, False, "2 detections without the field 'score'"),
        ([RECORD], True, "1 detections without the field 'segmentation'"),
        ({'annotations': []}, False, 'to be a list of dictionaries'),
        ([1, 2], False, 'to be a list of dictionaries'),
        ('[{"image_id": 1', False, 'found.json is truncated or not a JSON file'),
    ],
)
def test_invalid_file_of_detections(tmp_path, records, masks, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, records, masks=masks)


def test_read_masks_of_any_format(tmp_path):
    runs = dict(size=[SIZE, SIZE], counts=[645, 4, 60, 4, SIZE**2 - 713])  # rows 5 to 8 of columns 10 and 11
    packed = mask_utils.frPyObjects(runs, SIZE, SIZE)
    kinds = [runs, dict(packed, counts=packed['counts'].decode()), [[10, 5, 12, 5, 12, 9, 10, 9]]]
    records = [dict(RECORD, segmentation=mask) for mask in kinds]
    found = read(tmp_path, [*records, {k: v for k, v in records[0].items() if k != 'bbox'}], masks=True)
    assert found.areas().tolist() == [8] * 4
    assert found.boxes.tolist() == [RECORD['bbox']] * 3 + [[10, 5, 2, 4]]


@pytest.mark.parametrize(
    'mask, message',
    [
        (dict(size=[SIZE, SIZE], counts=[645, 4]), 'mask of detection 1 has run lengths of 649 pixels'),
        (
            dict(size=[SIZE, SIZE], counts='S1'),
            'mask of detection 1 has run lengths of .* pixels .* image 4096',
        ),
        (dict(size=[5, 7], counts=[35]), r'1 has the size \[5, 7\], but its image \[64, 64\] \(height, width\)'),
        ([[1, 2, 3, 4]], 'mask of detection 1 has no polygon'),
        ([], 'mask of detection 1 has no polygon'),
        (None, 'mask of detection 1 is neither a list of polygons nor a run-length code'),
    ],
)
def test_invalid_masks_of_detections(tmp_path, mask, message):
    good = dict(RECORD, segmentation=dict(size=[SIZE, SIZE], counts=[SIZE**2]))
    with pytest.raises(ValueError, match=message):
        read(tmp_path, [good, dict(RECORD, segmentation=mask)], masks=True)
    read(tmp_path, [dict(RECORD, segmentation=mask)])  # boxes alone


def test_detections_from_results():
    results = [
        (
            11,
            dict(bboxes=np.array([[1, 2, 4, 6], [5, 5, 2, 9]], np.float32), scores=np.ones(2), labels=np.array([3, 0])),
        ),
        (10, dict(bboxes=np.empty((0, 4)), scores=np.empty(0), labels=np.empty(0, int))),
    ]
    found = Detections.from_results(results, np.array(CATEGORY_IDS))
    assert found.boxes.tolist() == [[1, 2, 3, 4], [5, 5, 0, 4]]
    assert found.images.tolist() == [11, 11] and found.categories.tolist() == [9, 2]
    assert len(Detections.from_results(results[1:], np.array(CATEGORY_IDS)).scores) == 0


def test_encode_masks():
    masks = torch.rand(3, 5, 7).numpy() > 0.5
    assert (mask_utils.decode(encode_masks(masks)).transpose(2, 0, 1) == masks).all()
    assert encode_masks(masks[:0]) == []


def test_areas_of_more_than_255_masks():
    masks = np.zeros((300, 4, 4), bool)
    masks[np.arange(300), 0, np.arange(300) % 4] = True
    masks[256:, 1:] = True
    found = Detections(np.zeros(300, int), np.zeros(300, int), np.ones(300), np.zeros((300, 4)), encode_masks(masks))
    assert found.areas().tolist() == masks.sum((1, 2)).tolist()
