import json

import numpy as np
import pytest
import torch
from pycocotools import mask as mask_utils
from toy_lvis import CATEGORY_IDS, SIZE, lvis_content

from ltmm.datasets.lvis_annotations import AnnotationFileError
from ltmm.evaluation.lvis_data import DetectionFileError, Detections, GroundTruth, encode_masks
from ltmm.evaluation.lvis_eval import LVISEvaluator


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


def test_polygons_with_fewer_than_three_points_are_left_out():
    content = lvis_content()
    expected = ground_truth(content, masks=True).masks[0]
    content['annotations'][0]['segmentation'].insert(0, [1, 1, 60, 60])  # which pycocotools takes for a box
    assert ground_truth(content, masks=True).masks[0] == expected
    content['annotations'][0]['segmentation'] = [[1, 1, 60, 60]]
    with pytest.raises(
        AnnotationFileError, match='annotation 1 in file.json to have a polygon of three points or more'
    ):
        ground_truth(content, masks=True)
    ground_truth(content)  # boxes alone


def test_run_lengths_of_another_size_than_the_image():
    content = lvis_content()
    content['annotations'][0]['segmentation'] = encode_masks(np.ones((1, 5, 7)))[0]
    with pytest.raises(
        AnnotationFileError, match=r"its image's size \[64, 64\] \(height, width\), but its size is \[5, 7\]"
    ):
        ground_truth(content, masks=True)


@pytest.mark.parametrize('box', [[1, 2, float('nan'), 4], [1, 2, float('inf'), 4], [5, 5, -1, 4]])
def test_boxes_that_cannot_be(box):
    content = lvis_content()
    content['annotations'][1]['bbox'] = box
    with pytest.raises(
        AnnotationFileError, match='1 annotations whose bbox is not finite or of negative size; the first'
    ):
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
        ([dict(RECORD, score=float('nan'))], 'have a score that is no number'),
        ([dict(RECORD, bbox=[1, 2, float('nan'), 4])], 'have a bbox that is not finite'),
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
