"""Work dirs as tools/train.py and tools/test.py leave them, without training."""

import json

import numpy as np
import torch
from PIL import Image
from toy_lvis import CATEGORY_IDS, CLASSES, FREQUENCY, lvis_content, write_lvis

from ltmm import ClassDistribution
from ltmm.evaluation.functional import class_scores
from ltmm.evaluation.lvis.lvis_data import Detections, GroundTruth
from ltmm.evaluation.lvis.lvis_eval import LVISEvaluator
from ltmm.evaluation.reports import DetectionReport, MultiLabelReport, PerClassReport
from ltmm.utils.predictions import write_predictions

HOSTILE = ['<img src=x onerror="window.hacked=1">', '</script><script>window.hacked=1</script>', '\'"><b>&amp;%{x}']
CONFIG = """
import os
model = dict(head=dict(loss=dict(type={loss!r}), num_classes={num}))
param_scheduler = [dict(type='LinearLR', end=2), dict(milestones=[9, 11])]
randomness = dict(deterministic=False, seed={seed})
work_dir = {folder!r}
"""


def toy_run(folder, seed=0, loss='CrossEntropyLoss', names=HOSTILE, predictions=False, counts=None):
    """A run of a classifier; 12 test images per class."""
    num = len(names)
    counts = counts or [300 // (c + 1) ** 2 for c in range(num)]
    distribution = ClassDistribution(counts, class_names=tuple(names))
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(num), 12)
    scores = rng.dirichlet(np.ones(num), len(label))
    scores[np.arange(len(label)), label] += 2 / num
    scores /= scores.sum(1, keepdims=True)
    report = PerClassReport.from_scores(class_scores(scores.argmax(1), label, num), distribution, distribution.shots())
    log = folder / '20261129_101010'
    (log / 'vis_data').mkdir(parents=True)
    (log / 'per_class.csv').write_text(report.to_csv())
    lines = [dict(loss=3 / step, lr=0.1, time=0.2, data_time=0.05, step=step) for step in (10, 20, 30)]
    lines += [{'long_tail/balanced_accuracy': 10.0 * step, 'long_tail/few': 1.0, 'step': step} for step in (1, 2)]
    (log / 'vis_data' / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    (folder / 'toy_r8.py').write_text(CONFIG.format(loss=loss, seed=seed, num=num, folder=str(folder)))
    if predictions:
        picture = folder / 'x.png'
        Image.new('RGB', (300, 200), 'teal').save(picture)
        samples = [
            dict(pred_score=torch.tensor(s), gt_label=torch.tensor([y]), img_path=str(picture), sample_idx=i)
            for i, (s, y) in enumerate(zip(scores, label.tolist()))
        ]
        write_predictions(samples, folder / 'predictions.npz')
    return folder


def toy_multi_label_run(folder, names, counts, scores, target):
    """A run of a multi-label classifier, with its predictions."""
    report = MultiLabelReport.from_scores(
        scores, target, 0.5, tuple(names), np.array(counts), ClassDistribution(counts).shots()
    )
    folder.mkdir(parents=True)
    (folder / 'per_class.csv').write_text(report.to_csv())
    Image.new('RGB', (30, 20), 'teal').save(folder / 'x.png')
    samples = [
        dict(pred_score=torch.tensor(s), gt_score=torch.tensor(t), img_path=str(folder / 'x.png'), sample_idx=i)
        for i, (s, t) in enumerate(zip(scores, target))
    ]
    write_predictions(samples, folder / 'predictions.npz')
    return folder


def toy_boxes(seed=0):
    """An annotation file and [(image id, label, score, [x, y, w, h])]: federated, with ties, an image without boxes.

    Class 2 has no objects; in some images it and others are not verified, or not annotated exhaustively.
    """
    rng = np.random.default_rng(seed)
    content = lvis_content(num_images=12, seed=seed)
    content['annotations'] = [ann for ann in content['annotations'] if ann['category_id'] != CATEGORY_IDS[2]]
    found = []
    for image in content['images']:
        image['neg_category_ids'] = rng.permutation(image['neg_category_ids'])[:1].tolist()
        image['not_exhaustive_category_ids'] = [CATEGORY_IDS[0]] if rng.random() < 0.3 else []
        boxes = [ann['bbox'] for ann in content['annotations'] if ann['image_id'] == image['id']]
        boxes = [box for box in boxes for _ in range(3)] + rng.uniform(5, 40, (4, 4)).tolist()
        for box in boxes if image['id'] != 15 else []:
            box = np.round(np.array(box) + rng.normal(0, 1.5, 4), 1).clip(1).tolist()
            found.append((image['id'], int(rng.integers(4)), round(float(rng.random()), 1), box))
    return content, found


def toy_box_run(folder, content, found):
    """A run of a detector, with its predictions."""
    ann_file = write_lvis(folder / 'data', content)
    ground_truth = GroundTruth.from_content(content, str(ann_file))
    ids = np.array(CATEGORY_IDS)
    images, labels, scores, boxes = (np.array(column) for column in zip(*found))
    detections = Detections(images, ids[labels], scores, boxes)
    ap = LVISEvaluator(ground_truth, detections, 'bbox').best_per_image()
    counts = np.array([200, 40, 20, 3])
    report = DetectionReport(
        CLASSES, counts, np.array(FREQUENCY), ap.num_images, ap.num_objects, 100 * ap.ap, 100 * ap.ap50, 100 * ap.ap
    )
    (folder / 'per_class_bbox.csv').write_text(report.to_csv())
    (folder / 'toy_rcnn.py').write_text(f'test_evaluator = [dict(type="ltmm.LVISMetric", ann_file={str(ann_file)!r})]')
    corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    samples = []
    for image in content['images'][::-1]:  # as two ranks may leave them
        mine = images == image['id']
        pred = dict(
            bboxes=torch.tensor(corners[mine]), scores=torch.tensor(scores[mine]), labels=torch.tensor(labels[mine])
        )
        path = folder / 'data/train2017' / f'{image["id"]:012}.png'
        samples.append(dict(img_id=image['id'], img_path=str(path), pred_instances=pred))
    write_predictions(samples, folder / 'predictions.npz')
    return folder
