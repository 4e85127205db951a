import json

import numpy as np
import pytest
import torch
from pycocotools import mask as mask_utils
from toy_lvis import CATEGORY_IDS, SIZE, lvis_content

from ltmm.datasets.labels.lvis_annotations import AnnotationFileError, read_lvis_annotations
from ltmm.evaluation.lvis.lvis_data import DetectionFileError, Detections, GroundTruth, encode_masks
from ltmm.evaluation.lvis.lvis_eval import LVISEvaluator


def ground_truth(content=None, masks=False):
    return GroundTruth.from_content(content or lvis_content(), 'file.json', masks)


# ------------------------------------------------------------------ objects


def test_objects_are_arrays_in_the_order_of_the_file():
    content = lvis_content()
    objects = ground_truth(content)
    assert objects.boxes.tolist() == [a['bbox'] for a in content['annotations']]
    assert objects.images.tolist() == [a['image_id'] for a in content['annotations']]
    assert objects.absent.tolist()[:2] == [[10, 5], [10, 6]] and objects.masks is None
    assert not objects.ignore.any()


def test_polygons_and_both_kinds_of_run_lengths_are_the_same_mask():
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
            '2 has a polygon that is no list of',
        ),
        (lambda c: c['images'][0].update(height='64'), '1 images whose height or width is no positive whole number'),
        (lambda c: c['images'][0].update(width=0), '1 images whose height or width is no positive whole number'),
    ],
)
def test_masks_that_pycocotools_cannot_read_are_refused_with_the_file(tmp_path, change, message):
    content = lvis_content()
    change(content)
    path = tmp_path / 'file.json'
    path.write_text(json.dumps(content))
    with pytest.raises(AnnotationFileError, match=message):
        read_lvis_annotations(str(path), masks=True)
    read_lvis_annotations(str(path))  # boxes alone


def test_polygons_with_fewer_than_three_points_are_left_out():
    content = lvis_content()
    expected = ground_truth(content, masks=True).masks[0]
    content['annotations'][0]['segmentation'].insert(0, [1, 1, 60, 60])  # which pycocotools takes for a box
    assert ground_truth(content, masks=True).masks[0] == expected
    content['annotations'][0]['segmentation'] = [[1, 1, 60, 60]]
    for polygon in ([1, 1, 60, 60], [1, 1, 60, 60, 5, 9, 7], []):
        content['annotations'][0]['segmentation'] = [polygon]
        with pytest.raises(AnnotationFileError, match='mask of annotation 1 has no polygon of three points or more'):
            ground_truth(content, masks=True)
    ground_truth(content)  # boxes alone


@pytest.mark.parametrize('size', [[4, -1], [-4, -4]])
def test_boxes_of_negative_size(size):
    content = lvis_content()
    content['annotations'][1]['bbox'][2:] = size
    with pytest.raises(AnnotationFileError, match='1 annotations whose bbox is of negative size; the first is annota'):
        ground_truth(content)


@pytest.mark.parametrize('part, key', [('images', 'image_id'), ('categories', 'category_id')])
def test_ids_that_are_no_whole_numbers(part, key):
    content = lvis_content()
    old = content[part][0]['id']
    content[part][0]['id'] = 'x'
    for annotation in content['annotations']:
        annotation[key] = 'x' if annotation[key] == old else annotation[key]
    with pytest.raises(AnnotationFileError, match=f"1 {part} whose id is no whole number; the first is 'x'"):
        ground_truth(content)


def test_an_object_without_width_is_never_found():
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


def test_lvis_fields_in_a_part_of_the_images():
    content = lvis_content()
    del content['images'][3]['neg_category_ids']
    with pytest.raises(AnnotationFileError, match="1 images without the field 'neg_category_ids', image 13 first"):
        ground_truth(content)


def test_crowds_are_ignored_and_cocos_layout_has_no_absent_classes():
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


def test_a_file_of_boxes_and_of_masks(tmp_path):
    found = read(tmp_path, [RECORD, dict(RECORD, bbox=[1, 2, -3, 4])])
    assert found.areas().tolist() == [12, 0] and found.categories.tolist() == [9, 9]
    mask = np.zeros((1, SIZE, SIZE), bool)
    mask[0, 5:9, 10:20] = True
    code = encode_masks(mask)[0]
    record = dict(image_id=10, category_id=2, score=1, segmentation=dict(code, counts=code['counts'].decode()))
    found = read(tmp_path, [record], masks=True)
    assert found.areas().tolist() == [40] and found.boxes.tolist() == [[10, 5, 10, 4]]


def test_a_file_without_detections(tmp_path):
    for masks in (False, True):
        found = read(tmp_path, [], masks=masks)
        evaluator = LVISEvaluator(ground_truth(masks=masks), found, 'segm' if masks else 'bbox')
        assert evaluator.best_per_image().figures(np.array(list('ffcr')))['AP'] == 0


@pytest.mark.parametrize(
    'records, message',
    [
        (
            [RECORD, dict(RECORD, image_id=999)],
            '1 detections have an image_id that the annotation file does not have; the',
        ),
        ([dict(RECORD, category_id=3)], 'have a category_id that the annotation file does not have; the first is 0, '),
        ([RECORD, dict(RECORD, image_id='x')], '1 detections have an image_id .* does not have; the first is 1, '),
        ([dict(RECORD, image_id=10.5)], 'have an image_id that the annotation file does not have'),
        ([dict(RECORD, image_id=[10])], 'have an image_id that the annotation file does not have'),
        ([dict(RECORD, category_id=None)], 'have a category_id that the annotation file does not have'),
        ([dict(RECORD, score=float('nan'))], 'have a score that is no finite number'),
        ([dict(RECORD, score=None)], 'have a score that is no finite number'),
        ([dict(RECORD, score='0.5')], 'have a score that is no finite number'),
        ([dict(RECORD, bbox=[1, 2, float('nan'), 4])], r'have a bbox that is not four finite numbers \[x, y, w, h\]'),
        ([RECORD, dict(RECORD, bbox=[1, 2, 3])], r'not four finite numbers .* the first is 1, .*\[1, 2, 3\]'),
        ([dict(RECORD, bbox=[1, 2, 3])] * 2, '2 detections have a bbox that is not four finite numbers'),
        ([dict(RECORD, bbox=[[1, 2, 3, 4]])], '1 detections have a bbox that is not four finite numbers'),
        ([dict(RECORD, bbox=None)], '1 detections have a bbox that is not four finite numbers'),
        ([dict(RECORD, bbox='1234')], '1 detections have a bbox that is not four finite numbers'),
        ([{k: v for k, v in RECORD.items() if k != 'score'}], "detection 0 has no 'score'"),
        ({'annotations': []}, 'to be a list of dictionaries, one a detection'),
        ([1, 2], 'to be a list of dictionaries, one a detection'),
        ('[{"image_id": 1', 'found.json is not a whole JSON file'),
    ],
)
def test_files_that_do_not_belong_to_the_annotations(tmp_path, records, message):
    with pytest.raises(DetectionFileError, match=message):
        read(tmp_path, records)


def test_a_file_of_boxes_where_masks_are_asked_for(tmp_path):
    with pytest.raises(DetectionFileError, match="detection 0 has no 'segmentation'"):
        read(tmp_path, [RECORD], masks=True)


def test_masks_of_a_file_may_be_of_any_kind(tmp_path):
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
        (dict(size=[SIZE, SIZE], counts=[645, 4]), 'mask of detection 1 has run lengths of 649 pixels in all, but its'),
        (
            dict(size=[SIZE, SIZE], counts='S1'),
            'mask of detection 1 has run lengths of .* pixels in all, but its image 4096: it is cut',
        ),
        (dict(size=[5, 7], counts=[35]), r'1 has the size \[5, 7\], but its image \[64, 64\] \(height, width\)'),
        ([[1, 2, 3, 4]], 'mask of detection 1 has no polygon of three points or more'),
        ([], 'mask of detection 1 has no polygon of three points or more'),
        (None, 'mask of detection 1 is neither a list of polygons nor a run-length code'),
    ],
)
def test_masks_that_are_none_of_their_image(tmp_path, mask, message):
    good = dict(RECORD, segmentation=dict(size=[SIZE, SIZE], counts=[SIZE**2]))
    with pytest.raises(DetectionFileError, match=message):
        read(tmp_path, [good, dict(RECORD, segmentation=mask)], masks=True)
    read(tmp_path, [dict(RECORD, segmentation=mask)])  # boxes alone


def test_results_of_a_model_become_boxes_with_a_size():
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


def test_masks_are_coded_one_by_one():
    masks = torch.rand(3, 5, 7).numpy() > 0.5
    assert (mask_utils.decode(encode_masks(masks)).transpose(2, 0, 1) == masks).all()
    assert encode_masks(masks[:0]) == []


def test_areas_of_more_masks_than_a_byte_counts():
    masks = np.zeros((300, 4, 4), bool)
    masks[np.arange(300), 0, np.arange(300) % 4] = True
    masks[256:, 1:] = True
    found = Detections(np.zeros(300, int), np.zeros(300, int), np.ones(300), np.zeros((300, 4)), encode_masks(masks))
    assert found.areas().tolist() == masks.sum((1, 2)).tolist()
