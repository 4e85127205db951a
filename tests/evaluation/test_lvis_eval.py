import copy

import numpy as np
import pytest
import torch
from lvis import LVIS, LVISEval, LVISResults
from pycocotools import mask as mask_utils
from toy_lvis import CATEGORY_IDS, FREQUENCY, SIZE, lvis_content

from ltmm.evaluation.lvis_eval import Detections, GroundTruth, LVISEvaluator, encode_masks

BY_ID = dict(zip(CATEGORY_IDS, FREQUENCY))


def detections(content, seed=0, per_image=12):
    """Boxes and masks near the objects and anywhere, with tied scores."""
    rng = np.random.default_rng(seed)
    found = []
    for image in content['images']:
        objects = [a for a in content['annotations'] if a['image_id'] == image['id']]
        for _ in range(per_image):
            near = objects[rng.integers(len(objects))] if objects and rng.random() < 0.7 else None
            box = np.array(near['bbox'] if near else rng.uniform(1, 30, 4)) + rng.normal(0, 1.5, 4)
            box = np.clip(box, 0.5, SIZE).tolist()
            mask = np.zeros((1, SIZE, SIZE), bool)
            x, y, w, h = map(round, box)
            mask[0, y : y + max(h, 1), x : x + max(w, 1)] = True
            category = near['category_id'] if near and rng.random() < 0.8 else rng.choice(CATEGORY_IDS)
            found.append(
                dict(
                    image_id=image['id'],
                    category_id=int(category),
                    score=float(rng.random().__round__(1)),
                    bbox=box,
                    segmentation=encode_masks(mask)[0],
                )
            )
    return found


def only(found, iou_type):
    drop = 'segmentation' if iou_type == 'bbox' else 'bbox'
    return [{k: v for k, v in d.items() if k != drop} for d in found]


def ours(content, found, iou_type, image_ids=None):
    ground_truth = GroundTruth(copy.deepcopy(content))
    evaluator = LVISEvaluator(
        ground_truth,
        Detections(ground_truth, only(found, iou_type)),
        iou_type,
        [image['id'] for image in content['images']] if image_ids is None else image_ids,
        BY_ID,
    )
    return evaluator.run()


def the_packages(content, found, iou_type, monkeypatch):
    """The figures of the lvis package, which needs an old name of numpy for it."""
    monkeypatch.setattr(np, 'float', float, raising=False)
    monkeypatch.setattr(LVIS, '_load_json', lambda self, content: copy.deepcopy(content))
    ground_truth = LVIS(content)
    evaluator = LVISEval(ground_truth, LVISResults(ground_truth, only(found, iou_type)), iou_type)
    evaluator.run()
    return evaluator.get_results()


@pytest.fixture
def content():
    content = lvis_content(num_images=20)
    content['images'][2]['not_exhaustive_category_ids'] = [2, 5]
    content['images'][3]['neg_category_ids'] = []  # nothing known of the classes that were not annotated
    content['annotations'][5]['ignore'] = 1
    return content


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@pytest.mark.parametrize('seed', range(3))
def test_equals_the_lvis_package(content, iou_type, seed, monkeypatch):
    found = detections(content, seed)
    got, expected = ours(content, found, iou_type), the_packages(content, found, iou_type, monkeypatch)
    assert got.keys() == expected.keys()
    for name in expected:
        assert got[name] == pytest.approx(expected[name], abs=1e-12), name
    assert 0.05 < got['AP'] < 0.95


def test_leaves_numpy_as_it_is(content):
    ours(content, detections(content), 'bbox')
    assert not hasattr(np, 'float')


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_perfect_detections_have_ap_1_and_groups_without_objects_minus_1(content, iou_type):
    content['annotations'] = [a for a in content['annotations'] if a['category_id'] != 9 and 'ignore' not in a]
    masks = np.zeros((len(content['annotations']), SIZE, SIZE), bool)
    for mask, annotation in zip(masks, content['annotations']):
        x, y, w, h = annotation['bbox']
        mask[y : y + h, x : x + w] = True
    found = [
        dict(image_id=a['image_id'], category_id=a['category_id'], score=0.9, bbox=a['bbox'], segmentation=code)
        for a, code in zip(content['annotations'], encode_masks(masks))
    ]
    figures = ours(content, found, iou_type)
    assert figures['AP'] == figures['APf'] == figures['APc'] == pytest.approx(1)
    assert figures['APr'] == -1 and figures['APl'] == -1


def test_without_detections_what_could_be_found_has_ap_0(content):
    figures = ours(content, [], 'bbox')
    assert figures['AP'] == figures['APr'] == figures['APc'] == figures['APf'] == figures['AR@300'] == 0
    assert figures['APl'] == -1  # no object is large


def test_a_part_of_the_images_is_scored_as_that_part(content, monkeypatch):
    found, part = detections(content), [image['id'] for image in content['images'][:7]]
    small = dict(
        content,
        images=content['images'][:7],
        annotations=[a for a in content['annotations'] if a['image_id'] in part],
    )
    found = [d for d in found if d['image_id'] in part]
    assert ours(content, found, 'bbox', part) == pytest.approx(the_packages(small, found, 'bbox', monkeypatch))
    assert ours(content, found, 'bbox', part)['AP'] > ours(content, found, 'bbox')['AP']


def test_an_object_with_id_0_can_be_found(content):
    found = detections(content)
    expected = ours(content, found, 'bbox')
    for annotation in content['annotations']:
        annotation['id'] -= 1
    assert ours(content, found, 'bbox') == expected


def test_masks_are_coded_one_by_one():
    masks = torch.rand(3, 5, 7).numpy() > 0.5
    assert (mask_utils.decode(encode_masks(masks)).transpose(2, 0, 1) == masks).all()
    assert encode_masks(masks[:0]) == []
