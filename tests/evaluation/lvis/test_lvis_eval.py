import copy
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from lvis import LVIS, LVISEval, LVISResults
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from toy import ROOT

from ltmm.datasets.files import data_roots
from ltmm.evaluation.lvis import hotcoco_eval
from ltmm.evaluation.lvis.hotcoco_eval import HotcocoEvaluator, fastest_evaluator
from ltmm.evaluation.lvis.lvis_data import Detections, GroundTruth
from ltmm.evaluation.lvis.lvis_eval import LVISEvaluator
from ltmm.utils import environment

SIZE = 160
CATEGORY_IDS = (2, 5, 6, 9, 30, 31)  # with gaps
LETTERS = 'ffccrr'


def random_content(seed, num_images=14, federated=True):
    """Overlapping objects of all sizes, images without any, ignored objects, classes never annotated or looked for."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for image_id in rng.permutation(100)[:num_images].tolist():
        for _ in range(rng.integers(1, 9) if len(images) > 1 else 0):
            w, h = (rng.choice([8, 30, 90, 120], 2) * rng.uniform(0.6, 1, 2)).round(1).tolist()
            x, y = (rng.uniform(0, 1, 2) * (SIZE - np.array([w, h]))).round(1).tolist()
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image_id,
                    category_id=int(rng.choice(CATEGORY_IDS[:5])),  # the last class has no object
                    bbox=[x, y, w, h],
                    area=w * h,
                    segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]],
                    iscrowd=0,
                )
            )
            if rng.random() < 0.1:
                annotations[-1]['ignore'] = 1
        images.append(dict(id=image_id, width=SIZE, height=SIZE, file_name=f'{image_id}.png'))
        if federated:
            there = {a['category_id'] for a in annotations if a['image_id'] == image_id}
            known = rng.random(len(CATEGORY_IDS)) < 0.6
            images[-1]['neg_category_ids'] = [c for c, k in zip(CATEGORY_IDS, known) if k and c not in there]
            images[-1]['not_exhaustive_category_ids'] = [c for c in CATEGORY_IDS if rng.random() < 0.2]
    categories = [dict(id=i, name=str(i), frequency=letter) for i, letter in zip(CATEGORY_IDS, LETTERS)]
    return dict(images=images, annotations=annotations, categories=categories)


def jittered(content, iou_type, seed=0, extra=3, noise=0.08):
    """Detections near the objects (some twice) and anywhere, of right and wrong classes, with many tied scores."""
    rng = np.random.default_rng(seed)
    categories = [category['id'] for category in content['categories']]
    size = {image['id']: (image['height'], image['width']) for image in content['images']}
    near = [a for a in content['annotations'] for _ in range(rng.integers(0, 3))]
    found = []
    for annotation in near:
        x, y, w, h = annotation['bbox']
        box = np.array([x, y, w, h]) + rng.normal(0, noise, 4) * [w, h, w, h]
        category = annotation['category_id'] if rng.random() < 0.8 else int(rng.choice(categories))
        moved = [  # the object's own shape
            np.maximum(box[:2] + (np.reshape(polygon, (-1, 2)) - [x, y]) / [w, h] * box[2:], 0).ravel().tolist()
            for polygon in annotation.get('segmentation', ())
        ]
        found.append(dict(image_id=annotation['image_id'], category_id=category, bbox=box, segmentation=moved))
    for image_id, (height, width) in size.items():
        for _ in range(extra):
            box = rng.uniform(0.1, 0.9, 4) * [width, height, width / 2, height / 2]
            x, y, w, h = box
            found.append(dict(image_id=image_id, category_id=int(rng.choice(categories)), bbox=box))
            found[-1]['segmentation'] = [[x, y, x + w, y, x + w, y + h, x, y + 0.7 * h]]
    rng.shuffle(found)
    for detection in found:
        detection['score'] = float(rng.random().__round__(1))
        detection['bbox'] = np.maximum(detection['bbox'], 0.5).tolist()
        polygons = detection.pop('segmentation')
        if iou_type == 'segm':
            del detection['bbox']
            codes = mask_utils.frPyObjects(polygons, *size[detection['image_id']])
            detection['segmentation'] = mask_utils.merge(codes)
    return found


def arrays(content, found, iou_type):
    segm = iou_type == 'segm'
    ground_truth = GroundTruth.from_content(copy.deepcopy(content), 'file', masks=segm)
    detections = Detections(
        images=np.array([d['image_id'] for d in found], dtype=int),
        categories=np.array([d['category_id'] for d in found], dtype=int),
        scores=np.array([d['score'] for d in found], dtype=float),
        boxes=np.array([d.get('bbox', [0] * 4) for d in found], dtype=float).reshape(-1, 4),
        masks=[d['segmentation'] for d in found] if segm else None,
    )
    return ground_truth, detections


@pytest.fixture(params=[LVISEvaluator, HotcocoEvaluator])
def evaluator(request):
    """A function that builds an evaluator, ours and that with hotcoco in turn."""
    return lambda content, found, iou_type, *ids, **options: request.param(
        *arrays(content, found, iou_type), iou_type, *ids, **options
    )


def letters(content):
    return np.array([category['frequency'] for category in content['categories']])


@pytest.fixture
def ours(evaluator):
    def figures(content, found, iou_type, *image_ids):
        return evaluator(content, found, iou_type, *image_ids).best_per_image().figures(letters(content))

    return figures


@pytest.fixture
def lvis_package(monkeypatch):
    """A function that computes the figures and the AP per class by the lvis package, which needs ``np.float``."""
    monkeypatch.setattr(np, 'float', float, raising=False)
    monkeypatch.setattr(LVIS, '_load_json', lambda self, content: copy.deepcopy(content))

    def evaluate(content, found, iou_type, max_dets=300):
        ground_truth = LVIS(content)
        results = LVISResults(ground_truth, copy.deepcopy(found), max_dets)
        evaluation = LVISEval(ground_truth, results, iou_type)
        evaluation.run()
        figures = {name.removesuffix('@300'): value for name, value in evaluation.get_results().items()}
        return figures, evaluation.eval['precision'][..., 0].mean((0, 1))

    return evaluate


def assert_equal(got, expected):
    assert got.keys() == expected.keys()
    for name in expected:
        assert got[name] == pytest.approx(expected[name], abs=1e-9), name


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@pytest.mark.parametrize('seed', range(6))
def test_random_federated_data_equals_the_package(seed, iou_type, lvis_package, evaluator):
    content = random_content(seed)
    assert len({a['image_id'] for a in content['annotations']}) == 12  # of 14 images
    found = jittered(content, iou_type, seed)
    result = evaluator(content, found, iou_type).best_per_image()
    figures, by_class = lvis_package(content, found, iou_type)
    assert_equal(result.figures(letters(content)), figures)
    assert np.nan_to_num(result.ap, nan=-1) == pytest.approx(by_class, abs=1e-9)
    assert 0.05 < figures['AP'] < 0.95 and by_class[-1] == -1


@pytest.mark.parametrize('limit', [1, 3, 10])
def test_limit_per_image_equals_the_package(limit, lvis_package, evaluator):
    content = random_content(1)
    found = jittered(content, 'bbox', extra=9)
    got = evaluator(content, found, 'bbox').best_per_image(limit).figures(letters(content))
    assert_equal(got, lvis_package(content, found, 'bbox', limit)[0])


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@pytest.mark.parametrize('limit', [1, 4, 12])
def test_ap_fixed_equals_the_package(iou_type, limit, lvis_package, evaluator):
    content = random_content(2)
    found = sorted(jittered(content, iou_type, extra=9), key=lambda d: d['image_id'])
    best = []
    for category_id in CATEGORY_IDS:
        of_class = [d for d in found if d['category_id'] == category_id]
        best += sorted(of_class, key=lambda d: d['score'], reverse=True)[:limit]
    got = evaluator(content, found, iou_type).best_per_class(limit).figures(letters(content))
    assert_equal(got, lvis_package(content, best, iou_type, max_dets=-1)[0])


def test_ap_fixed_has_no_limit_per_image(evaluator):
    content = random_content(3, num_images=6)
    (image, *_), (right, *_) = content['images'], content['annotations']
    image['neg_category_ids'] = []
    for other in content['images']:
        other['not_exhaustive_category_ids'] = []
    right.pop('ignore', None)
    right['image_id'], content['annotations'] = image['id'], [right]
    wrong = dict(image_id=image['id'], category_id=31, bbox=[0, 0, 5, 5], score=0.9)  # nobody looked for it
    found = [wrong] * 300 + [dict(wrong, category_id=right['category_id'], bbox=right['bbox'], score=0.1)]
    result = evaluator(content, found, 'bbox')
    at = CATEGORY_IDS.index(right['category_id'])
    assert result.best_per_image().ap[at] == 0
    assert result.best_per_class().ap[at] == pytest.approx(1)


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_coco_format_equals_pycocotools(iou_type, capsys, evaluator):
    content = random_content(4, federated=False)
    for annotation in content['annotations']:
        annotation.pop('ignore', None)
        if iou_type == 'bbox' and annotation['id'] % 9 == 0:
            annotation['iscrowd'] = 1
    found = jittered(content, iou_type, extra=5)
    coco = COCO()
    coco.dataset = copy.deepcopy(content)
    coco.createIndex()
    evaluation = COCOeval(coco, coco.loadRes(copy.deepcopy(found)), iou_type)
    evaluation.params.maxDets = [1, 10, 300]
    evaluation.evaluate()
    evaluation.accumulate()
    expected = evaluation.eval['precision'][..., 0, -1].mean((0, 1))  # (C,)
    got = evaluator(content, found, iou_type).best_per_image().ap
    assert np.nan_to_num(got, nan=-1) == pytest.approx(expected, abs=1e-9)
    assert 0.05 < expected[:5].mean() < 0.95


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_perfect_detections(iou_type, ours):
    content = random_content(5)
    content['annotations'] = [a for a in content['annotations'] if a['category_id'] < 30 and 'ignore' not in a]
    found = [dict(a, score=0.9) for a in content['annotations']]
    for d in found if iou_type == 'segm' else ():
        d['segmentation'] = mask_utils.merge(mask_utils.frPyObjects(d['segmentation'], SIZE, SIZE))
    figures = ours(content, found, iou_type)
    assert figures['AP'] == figures['APf'] == figures['APc'] == figures['AR'] == pytest.approx(1)
    assert figures['APr'] == -1


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_no_detections(iou_type, ours):
    figures = ours(random_content(0), [], iou_type)
    assert all(value == 0 for value in figures.values())


def test_no_objects(ours):
    content = random_content(0)
    found = jittered(content, 'bbox')
    content['annotations'] = []
    assert all(value == -1 for value in ours(content, found, 'bbox').values())


def test_subset_of_the_images_equals_the_package(lvis_package, ours):
    content = random_content(6)
    found, part = jittered(content, 'bbox'), [image['id'] for image in content['images'][:7]]
    small = dict(
        content,
        images=content['images'][:7],
        annotations=[a for a in content['annotations'] if a['image_id'] in part],
    )
    got = ours(content, found, 'bbox', part)
    assert_equal(got, lvis_package(small, [d for d in found if d['image_id'] in part], 'bbox')[0])
    assert got['AP'] != pytest.approx(ours(content, found, 'bbox')['AP'])


def test_subset_of_the_classes(evaluator):
    content = random_content(7)
    found = jittered(content, 'bbox')
    everything = evaluator(content, found, 'bbox').best_per_image()
    some = evaluator(content, found, 'bbox', category_ids=[30, 5]).best_per_image()
    assert some.ap == pytest.approx(everything.ap[[4, 1]])
    assert some.num_objects.tolist() == everything.num_objects[[4, 1]].tolist()


def test_counts_of_images_and_objects(evaluator):
    content = random_content(8)
    result = evaluator(content, [], 'bbox').best_per_image()
    there = [a for a in content['annotations'] if not a.get('ignore')]
    assert result.num_objects.tolist() == [sum(a['category_id'] == c for a in there) for c in CATEGORY_IDS]
    images = [len({a['image_id'] for a in there if a['category_id'] == c}) for c in CATEGORY_IDS]
    assert result.num_images.tolist() == images


# ------------------------------------------------------------------ hotcoco


def assert_same(a, b):
    for name, value in vars(a).items():
        assert getattr(b, name) == pytest.approx(value, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize('at_once', [1, 20, 10**6])
@pytest.mark.parametrize('federated', [True, False])
@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_hotcoco_equals_ours_for_each_class_size_and_limit(iou_type, federated, at_once, monkeypatch):
    monkeypatch.setattr(hotcoco_eval, 'DETECTIONS_AT_ONCE', at_once)
    for seed in range(20, 23):
        content = random_content(seed, federated=federated)
        content['annotations'] += [dict(a, id=1000 + a['id']) for a in content['annotations'][::3]]  # equal IoU
        for annotation in content['annotations'][::5]:
            annotation['iscrowd'] = 1
        for annotation, area in zip(content['annotations'][::4], (32**2, 96**2) * 20):  # of two sizes
            annotation['area'] = area
        data = arrays(content, jittered(content, iou_type, seed, extra=8), iou_type)
        slow, fast = (each(*data, iou_type) for each in (LVISEvaluator, HotcocoEvaluator))
        for limit in (300, 4, 1, 0):  # only the classes that change are evaluated again
            assert_same(slow.best_per_image(limit), fast.best_per_image(limit))
            assert_same(slow.best_per_class(2 * limit), fast.best_per_class(2 * limit))


def test_parts_of_classes_cover_all_detections(monkeypatch):
    monkeypatch.setattr(hotcoco_eval, 'DETECTIONS_AT_ONCE', 4)
    monkeypatch.setattr(hotcoco_eval, 'CLASSES_AT_ONCE', 3)
    classes = np.repeat([1, 2, 4, 5, 6, 7, 9], [1, 1, 1, 1, 9, 2, 3])
    parts = [(part.tolist(), span.start, span.stop) for part, span in hotcoco_eval._chunks(classes)]
    assert parts == [([1, 2, 4], 0, 3), ([5], 3, 4), ([6], 4, 13), ([7], 13, 15), ([9], 15, 18)]


def test_hotcoco_is_optional(monkeypatch):
    assert fastest_evaluator() == (HotcocoEvaluator, '')
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, 'hotcoco', SimpleNamespace(__version__='1.2', __spec__='installed'))  # too old
        evaluator, problem = fastest_evaluator()
    assert evaluator is LVISEvaluator and 'but found 1.2. Install it: ' in problem
    monkeypatch.setattr(environment, 'find_spec', lambda name: None)
    evaluator, problem = fastest_evaluator()
    assert evaluator is LVISEvaluator and problem.startswith('hotcoco is not installed. Install it: ')


# ------------------------------------------------------------------ real data


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
@pytest.mark.parametrize(
    'file, step',
    [
        ('lvis_mini/annotations/lvis_v1_val.json', 1),
        ('foda_lt/annotations/lvis_v1_val.json', 4),
        ('lvis/lvis_val_100.json', 1),  # v0.5, from github.com/lvis-dataset/lvis-api under data/
    ],
)
def test_real_data_equals_the_package(file, step, iou_type, lvis_package, evaluator):
    path = next((ROOT / root / file for root in data_roots() if (ROOT / root / file).is_file()), None)
    if path is None:
        pytest.skip(f'{file} is not in data/ (or $LTMM_DATA_ROOT)')
    content = json.loads(path.read_text())
    content['images'] = content['images'][::step]
    kept = {image['id'] for image in content['images']}
    content['annotations'] = [a for a in content['annotations'] if a['image_id'] in kept]
    if iou_type == 'segm' and not all('segmentation' in a for a in content['annotations']):
        pytest.skip(f'{file} has no masks')
    found = jittered(content, iou_type, extra=10)
    expected, by_class = lvis_package(content, found, iou_type)
    result = evaluator(content, found, iou_type).best_per_image()
    assert_equal(result.figures(letters(content)), expected)
    assert np.nan_to_num(result.ap, nan=-1) == pytest.approx(by_class, abs=1e-9)
    assert 0.05 < expected['AP'] < 0.95
