import json
import re

import numpy as np
import pytest
from toy_lvis import CATEGORY_IDS
from toy_runs import toy_box_run, toy_boxes

pytest.importorskip('plotly')
pytest.importorskip('pycocotools')

from ltmm.evaluation.lvis.lvis_eval import FALSE, IGNORED, TRUE
from ltmm.utils.predictions import read_predictions, write_predictions
from ltmm.visualization.report import write_report
from ltmm.visualization.report.box_predictions import MIN_SCORE, NOT_FOUND, NOT_VERIFIED
from ltmm.visualization.report.run_files import read_run_files

MASKS = list(np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=bool))


def iou(a, b):
    sides = [max(min(a[k] + a[k + 2], b[k] + b[k + 2]) - max(a[k], b[k]), 0) for k in (0, 1)]
    overlap = sides[0] * sides[1]
    return overlap / (a[2] * a[3] + b[2] * b[3] - overlap)


def greedy(dets, objects, indices, same_class):
    pairs = {}
    for d, (label, _, box) in dets:
        near = [(iou(box, objects[g][1]), g) for g in indices if g not in pairs]
        near = [(o, g) for o, g in near if o >= 0.5 and (not same_class or objects[g][0] == label)]
        if near:
            pairs[max(near)[1]] = d
    return pairs


def by_loops(content, found):
    """Outcome of each object, (image id, box): label, class; and boxes of each class: true, on another, other false."""
    label_of = {cat_id: c for c, cat_id in enumerate(CATEGORY_IDS)}
    outcomes, boxes, scored = {}, np.zeros((4, 3)), []
    for image in content['images']:
        objects = [ann for ann in content['annotations'] if ann['image_id'] == image['id']]
        objects = [(label_of[ann['category_id']], ann['bbox']) for ann in objects]
        unsure = {label_of[c] for c in image['not_exhaustive_category_ids']}
        verified = {label_of[c] for c in image['neg_category_ids']} | {c for c, _ in objects}
        mine = sorted((det[1:] for det in found if det[0] == image['id']), key=lambda det: -det[1])

        own = greedy([(d, det) for d, det in enumerate(mine) if det[0] in verified], objects, range(len(objects)), True)
        missed = [g for g in range(len(objects)) if g not in own or mine[own[g]][1] < MIN_SCORE]
        free = [(d, det) for d, det in enumerate(mine) if d not in own.values() and det[1] >= MIN_SCORE]
        other = greedy(free, objects, missed, False)
        for g, (label, box) in enumerate(objects):
            pred = label if g not in missed else NOT_FOUND
            if g in other:
                of_box = mine[other[g]][0]
                pred = of_box if of_box in verified - unsure else NOT_VERIFIED
            outcomes[(image['id'], *box)] = (label, pred)
        for d, (label, score, _) in enumerate(mine):
            if d in own.values() or label in verified - unsure:
                scored.append((score, label, d in own.values()))
                column = 0 if d in own.values() else 1 if d in other.values() else 2
                boxes[label, column] += score >= MIN_SCORE
    return outcomes, boxes, scored


@pytest.mark.parametrize('seed', range(4))
def test_outcomes_equal_loops(tmp_path, seed):
    content, found = toy_boxes(seed)
    predictions = read_run_files(toy_box_run(tmp_path / 'run', content, found)).predictions
    outcomes, boxes, scored = by_loops(content, found)
    truth = predictions.ground_truth
    got = {
        (int(truth.images[g]), *truth.boxes[g].tolist()): (label, pred)
        for g, label, pred in zip(predictions.objects, predictions.label.tolist(), predictions.pred.tolist())
    }
    assert got == outcomes
    expected = 100 * np.array([boxes[:2].sum(0), boxes[2], boxes[3]])
    with np.errstate(invalid='ignore'):
        expected /= np.array([boxes[:2].sum(), boxes[2].sum(), boxes[3].sum()])[:, None]
    np.testing.assert_allclose(predictions.boxes_of_groups(MASKS), expected)
    shares = predictions.confusion_of_groups(MASKS)
    kites = [pred for label, pred in outcomes.values() if label < 2]
    assert shares[0, -2:] == pytest.approx([100 * kites.count(o) / len(kites) for o in (NOT_FOUND, NOT_VERIFIED)])
    assert np.isnan(shares[1]).all()  # no objects
    (_, bins), *_ = predictions.calibration([])
    assert bins.num_samples == len(scored) and bins.hits.sum() == sum(hit for score, _, hit in scored if score)
    assert bins.hits[-1] == sum(hit for score, _, hit in scored if score > 14 / 15)
    assert {TRUE, FALSE, IGNORED} == set(predictions.outcome.tolist())
    assert {NOT_FOUND, NOT_VERIFIED} <= {pred for _, pred in outcomes.values()}


def test_worst_pictures(tmp_path):
    content, found = toy_boxes()
    predictions = read_run_files(toy_box_run(tmp_path / 'run', content, found)).predictions
    kinds = predictions.worst(0, 99)
    missed = (predictions.label == 0) & (predictions.pred != 0)
    assert len(kinds['objects not found']) == missed.sum() > 0
    is_false = (predictions.outcome == FALSE) & (predictions.box_label == 0) & (predictions.detections.scores >= 0.3)
    assert len(kinds['false boxes']) == is_false.sum() > 0
    scores = [float(picture.caption.split()[-1]) for picture in kinds['false boxes']]
    assert scores == sorted(scores, reverse=True)
    for picture in kinds['objects not found']:
        image_id = 10 + picture.image
        assert predictions.paths[picture.image].endswith(f'{image_id:012}.png')
        x1, y1, x2, y2 = 64 * picture.objects[0]
        boxes = [ann['bbox'] for ann in content['annotations'] if ann['image_id'] == image_id]
        assert any(box == pytest.approx([x1, y1, x2 - x1, y2 - y1]) for box in boxes)
        assert ('found as' in picture.caption) == (len(picture.boxes) == 1)


def page_of(run, tmp_path):
    text = write_report([run], tmp_path / 'report.html').read_text(encoding='utf-8')
    return re.sub(r'<script>/\*\*.*?</script>', '', text, count=1, flags=re.DOTALL)  # without plotly.js


def test_page(tmp_path):
    run = toy_box_run(tmp_path / 'run', *toy_boxes())
    page = page_of(run, tmp_path)
    assert 'objects not found' in page and 'precision at IoU 0.5' in page and 'as a class not verified there' in page
    assert page.count('class="whole"') > 8 and 'objects white, predicted boxes orange' in page
    ann_file = run / 'data/annotations.json'
    content = json.loads(ann_file.read_text())
    content['annotations'].pop(0)
    content['annotations'] = [ann for ann in content['annotations'] if ann['category_id'] != CATEGORY_IDS[3]]
    ann_file.write_text(json.dumps(content))
    assert page_of(run, tmp_path).count('hown: predictions.npz and the per-class CSV are of other test sets') == 3
    ann_file.unlink()
    assert page_of(run, tmp_path).count('annotations.json</code>, is not here') == 3
    (run / 'toy_rcnn.py').write_text('test_evaluator = dict(ann_file=__import__("os").name)')
    assert page_of(run, tmp_path).count('names no annotation file') == 3


def test_other_boxes_are_refused(tmp_path):
    content, found = toy_boxes()
    run = toy_box_run(tmp_path / 'run', content, found)
    other, found = toy_boxes(1)
    for image in other['images']:
        image['id'] += 100
    for ann in other['annotations']:
        ann['image_id'] += 100
    toy_box_run(tmp_path / 'other', other, [(image_id + 100, *rest) for image_id, *rest in found])
    (tmp_path / 'other/predictions.npz').rename(run / 'predictions.npz')
    with pytest.raises(ValueError, match='but image 1[12][0-9] has others'):
        page_of(run, tmp_path)


def test_image_that_is_there_twice(tmp_path):
    run = toy_box_run(tmp_path / 'run', *toy_boxes())
    once = read_run_files(run).predictions
    samples = read_predictions(run / 'predictions.npz')
    write_predictions([*samples, samples[0]], run / 'predictions.npz')
    twice = read_run_files(run).predictions
    np.testing.assert_array_equal(twice.pred, once.pred)
    assert twice.paths == once.paths
