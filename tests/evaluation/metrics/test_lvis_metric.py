import json
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from mmengine.hub import get_config
from mmengine.logging import MMLogger
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from toy_detectors import build_detector
from toy_lvis import CATEGORY_IDS, CLASSES, SIZE, detector_config, lvis_content, write_lvis
from toy_metrics import evaluate_on_ranks
from toy_processes import run_tool

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.evaluation import DetectionReport, LVISMetric
from ltmm.evaluation.lvis.lvis_data import Detections, encode_masks
from ltmm.evaluation.lvis.lvis_eval import LVISEvaluator
from ltmm.utils import environment

FIGURES = {'AP', 'AP50', 'AP75', 'APs', 'APm', 'APl', 'APr', 'APc', 'APf'}
FIGURES |= {'AR', 'ARs', 'ARm', 'ARl'}
FIGURES |= {'AP_fixed', 'APr_fixed', 'APc_fixed', 'APf_fixed'}

CROSS_ENTROPY = dict(type='CrossEntropyLoss', use_sigmoid=False)


def write(folder, content):
    path = folder / 'annotations.json'
    path.write_text(json.dumps(content))
    return str(path)


def metric_on(folder, content=None, classes=CLASSES, **options):
    metric = LVISMetric(write(folder, content or lvis_content()), **options)
    metric.dataset_meta = dict(classes=classes)
    return metric


def sample(image_id, boxes=(), labels=(), scores=None, masks=False, **pred):
    """Return the predictions for one image."""
    instances = dict(
        bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
        scores=torch.tensor([0.9] * len(labels) if scores is None else scores),
        **pred,
    )
    if masks:
        instances['masks'] = torch.zeros(len(labels), SIZE, SIZE, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(instances['masks'], boxes):
            mask[y1:y2, x1:x2] = True
    return dict(img_id=image_id, pred_instances=instances)


def perfect(content, masks=False):
    """Return predictions that equal the objects."""
    samples = []
    for image in content['images']:
        objects = [a for a in content['annotations'] if a['image_id'] == image['id']]
        boxes = [[x, y, x + w, y + h] for x, y, w, h in (a['bbox'] for a in objects)]
        samples.append(sample(image['id'], boxes, [CATEGORY_IDS.index(a['category_id']) for a in objects], masks=masks))
    return samples


def select(sample, keep):
    """Drop the other detections."""
    sample['pred_instances'] = {key: value[keep] for key, value in sample['pred_instances'].items()}


def prepend(sample, boxes, label, score):
    """Add detections."""
    pred = sample['pred_instances']
    pred['bboxes'] = torch.cat([torch.tensor(boxes, dtype=torch.float32), pred['bboxes']])
    pred['labels'] = torch.cat([torch.tensor([label] * len(boxes)), pred['labels']])
    pred['scores'] = torch.cat([torch.tensor([score] * len(boxes)), pred['scores']])


def evaluate(metric, samples):
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_perfect_boxes_and_masks(tmp_path):
    content = lvis_content()
    figures = evaluate(metric_on(tmp_path, content, metric=['bbox', 'segm']), perfect(content, masks=True))
    with_objects = [name for name in FIGURES if name not in ('APm', 'APl', 'ARm', 'ARl')]
    assert figures.keys() == {f'lvis/{iou_type}_{name}' for iou_type in ('bbox', 'segm') for name in with_objects}
    for name in ('AP', 'APr', 'APc', 'APf', 'AP_fixed', 'APr_fixed', 'APc_fixed', 'APf_fixed'):
        assert figures[f'lvis/bbox_{name}'] == figures[f'lvis/segm_{name}'] == pytest.approx(1)


def test_no_detections(tmp_path):
    content = lvis_content()
    figures = evaluate(metric_on(tmp_path, content), [sample(image['id']) for image in content['images']])
    assert figures['lvis/bbox_AP'] == figures['lvis/bbox_APr'] == figures['lvis/bbox_AP_fixed'] == 0
    assert 'lvis/bbox_APl' not in figures  # no object is large


def test_own_groups(tmp_path):
    content = lvis_content()
    missed = perfect(content)
    for s in missed:
        select(s, s['pred_instances']['labels'] != CLASSES.index('kite'))
    groups = dict(flying=['kite'], mixed=['kite', 'oar'], rest=CLASSES[1:], none=[])
    figures = evaluate(metric_on(tmp_path, content, groups=groups), missed)
    expected = dict(flying=0, mixed=0.5, rest=1)  # none has no class
    assert {name: figures[f'lvis/bbox_AP_{name}'] for name in expected} == pytest.approx(expected)
    plain = evaluate(metric_on(tmp_path, content), missed)
    assert plain == {name: figures[name] for name in plain} and len(figures) == len(plain) + len(expected)


def test_own_groups_with_fewer_classes(tmp_path):
    content = lvis_content()
    samples = perfect(content)
    for s in samples:  # labels of the classes oar, kite
        select(s, torch.isin(s['pred_instances']['labels'], torch.tensor([0, 3])))
        s['pred_instances']['labels'] = (s['pred_instances']['labels'] == 0).long()
    metric = metric_on(tmp_path, content, classes=('oar', 'kite'), groups=dict(found=['oar'], left_out=['mug']))
    figures = evaluate(metric, samples)
    assert figures['lvis/bbox_AP_found'] == pytest.approx(1)
    assert 'lvis/bbox_AP_left_out' not in figures  # not tested


def test_images_not_tested_are_ignored(tmp_path):
    content = lvis_content()
    figures = evaluate(metric_on(tmp_path, content), perfect(content)[1:3])
    assert figures['lvis/bbox_AP'] == pytest.approx(1)
    assert 'lvis/bbox_APr' not in figures  # no object of the rare class is in these two


def test_duplicate_images_count_once(tmp_path):
    content = lvis_content()
    samples = perfect(content)
    samples[1]['pred_instances']['scores'] *= 0.5
    once = evaluate(metric_on(tmp_path, content), samples)
    assert evaluate(metric_on(tmp_path, content), [*samples, samples[0], samples[1]]) == once


@pytest.mark.parametrize('world_size', [2, 3])
def test_any_number_of_ranks_equals_one(tmp_path, world_size):
    content = lvis_content()
    samples = perfect(content)
    for i, s in enumerate(samples):
        s['pred_instances']['scores'] *= 1 - 0.1 * i
        s['pred_instances']['bboxes'] += i
    expected = evaluate(metric_on(tmp_path, content), samples)
    figures = evaluate_on_ranks(lambda: metric_on(tmp_path, content), samples, world_size)
    assert {f'lvis/{name}': value for name, value in figures.items()} == expected
    assert 0.1 < expected['lvis/bbox_AP'] < 0.9


def test_detections_of_unverified_classes_are_ignored(tmp_path):
    content = lvis_content()
    right = perfect(content)
    prepend(right[0], [[50, 50, 60, 60]], label=2, score=0.99)  # image 10 has a kite and an oar, but no mug
    assert evaluate(metric_on(tmp_path, content), right)['lvis/bbox_APc'] < 0.9
    content['images'][0]['neg_category_ids'].remove(CATEGORY_IDS[2])
    assert evaluate(metric_on(tmp_path, content), right)['lvis/bbox_APc'] == pytest.approx(1)


def test_limit_of_300_per_image(tmp_path):
    content = lvis_content(num_images=1)
    (right,) = perfect(content)
    boxes = [[40, 40, 44, 44]] * 300 + right['pred_instances']['bboxes'].tolist()
    labels = [0] * 300 + right['pred_instances']['labels'].tolist()
    scores = [0.9] * 300 + [0.1] * (len(labels) - 300)
    figures = evaluate(metric_on(tmp_path, content), [sample(10, boxes, labels, scores)])
    assert figures['lvis/bbox_AP'] == 0 and figures['lvis/bbox_AP_fixed'] > 0.4
    scores[0] = 0.05  # now the first of the objects is among them
    assert evaluate(metric_on(tmp_path, content), [sample(10, boxes, labels, scores)])['lvis/bbox_AP'] > 0


def test_log_says_that_detections_are_left_out(tmp_path, log):
    content = lvis_content(num_images=2)
    samples = perfect(content)
    evaluate(metric_on(tmp_path, content), samples)
    assert 'per image' not in (log / 'run.log').read_text()
    prepend(samples[0], [[40, 40, 44, 44]] * 1000, label=0, score=0.9)
    evaluate(metric_on(tmp_path, content), samples)
    line = 'up to 1002 detections per image, of which the best 300 count (in 1 images); AP_fixed counts'
    assert line in (log / 'run.log').read_text()


def test_without_hotcoco(tmp_path, log, monkeypatch):
    content = lvis_content()
    samples = perfect(content, masks=True)
    for i, s in enumerate(samples):
        s['pred_instances']['bboxes'] += i
        prepend(s, [[9, 9, 20, 20]], label=i % 4, score=0.1 * i)
        s['pred_instances']['masks'] = torch.cat([torch.ones(1, SIZE, SIZE), s['pred_instances']['masks']])
    options = dict(metric=['bbox', 'segm'], groups=dict(both=['kite', 'oar']))
    expected = evaluate(metric_on(tmp_path, content, **options), samples)
    rows = DetectionReport.read(log / 'per_class_bbox.csv')
    assert 'hotcoco' not in (log / 'run.log').read_text()
    monkeypatch.setattr(environment, 'find_spec', lambda name: None)
    figures = evaluate(metric_on(tmp_path, content, **options), samples)
    assert list(figures) == list(expected) and figures == pytest.approx(expected, abs=1e-9)
    assert 0.1 < expected['lvis/bbox_AP'] < 0.9
    again = DetectionReport.read(log / 'per_class_bbox.csv')
    assert again.ap == pytest.approx(rows.ap) and again.ap_fixed == pytest.approx(rows.ap_fixed)
    assert 'faster with hotcoco. hotcoco is not installed. Install it: ' in (log / 'run.log').read_text()


def test_labels_map_to_categories_by_name(tmp_path):
    content = lvis_content()
    classes = ('oar', 'mug', 'ladder', 'kite')
    samples = perfect(content)
    for s in samples:
        s['pred_instances']['labels'] = 3 - s['pred_instances']['labels']
    assert evaluate(metric_on(tmp_path, content, classes), samples)['lvis/bbox_AP'] == pytest.approx(1)


def test_subset_of_the_classes(tmp_path):
    content = lvis_content()
    samples = perfect(content)
    for s in samples:
        select(s, s['pred_instances']['labels'] == 3)
        s['pred_instances']['labels'] *= 0
    figures = evaluate(metric_on(tmp_path, content, ('oar',)), samples)
    assert figures['lvis/bbox_AP'] == figures['lvis/bbox_APr'] == pytest.approx(1)
    assert 'lvis/bbox_APf' not in figures


def test_mask_scores_rank_masks(tmp_path):
    content = lvis_content(num_images=2)
    right = perfect(content, masks=True)
    for s in right:  # a false positive above all others by its box score, and below by its mask score
        pred = s['pred_instances']
        pred['bboxes'] = torch.cat([pred['bboxes'], torch.tensor([[50.0, 50, 60, 60]])])
        pred['labels'] = torch.cat([pred['labels'], torch.tensor([0])])
        pred['masks'] = torch.cat([pred['masks'], torch.ones(1, SIZE, SIZE, dtype=torch.bool)])
        pred['scores'] = torch.cat([pred['scores'], torch.tensor([0.99])])
        pred['mask_scores'] = torch.cat([pred['scores'][:-1], torch.tensor([0.01])])
    figures = evaluate(metric_on(tmp_path, content, metric=['bbox', 'segm']), right)
    assert figures['lvis/segm_AP'] == pytest.approx(1)
    assert figures['lvis/bbox_AP'] < 0.9


# ------------------------------------------------------------------ rare, common and frequent classes


def without_frequency():
    content = lvis_content()
    for category in content['categories']:
        del category['frequency']
    return content


def test_groups_by_training_images(tmp_path):
    content = without_frequency()
    metric = metric_on(tmp_path, content)
    metric.set_class_distribution(ClassDistribution([500, 90, 101, 9], class_names=CLASSES))  # f c f r
    misses_mug = perfect(content)
    for s in misses_mug:
        select(s, s['pred_instances']['labels'] != 2)
    figures = evaluate(metric, misses_mug)
    assert figures['lvis/bbox_APr'] == figures['lvis/bbox_APc'] == pytest.approx(1)
    assert figures['lvis/bbox_APf'] == pytest.approx(0.5)


def test_thresholds_override_the_annotation_file(tmp_path):
    metric = metric_on(tmp_path, thresholds=(20, 300))
    with pytest.raises(RuntimeError, match='because `thresholds` are given'):
        metric.process(None, perfect(lvis_content())[:1])
    metric.set_class_distribution(ClassDistribution([500, 20, 21, 300], class_names=CLASSES))
    assert metric._frequency().tolist() == ['f', 'r', 'c', 'c']


@pytest.mark.parametrize(
    ('thresholds', 'letters'),
    [(dict(rank=(2, 1)), 'frrc'), (dict(quantile=(1 / 3, 2 / 3)), 'frrc'), ('auto', 'frrc')],
)
def test_thresholds_by_rank_and_quantile(tmp_path, thresholds, letters):
    metric = metric_on(tmp_path, thresholds=thresholds)
    metric.set_class_distribution(ClassDistribution([500, 200, 210, 300], class_names=CLASSES))
    assert ''.join(metric._frequency()) == letters


def test_coco_format(tmp_path):
    content = without_frequency()
    for image in content['images']:
        del image['neg_category_ids'], image['not_exhaustive_category_ids']
    metric = metric_on(tmp_path, content)
    metric.set_class_distribution(ClassDistribution([500, 90, 101, 9], class_names=CLASSES))
    samples = perfect(content)
    assert evaluate(metric, samples)['lvis/bbox_AP'] == pytest.approx(1)
    pred = samples[0]['pred_instances']  # now an object of another class is seen in each of the objects
    wrong = {k: torch.cat([v, v]) for k, v in pred.items()}
    wrong['labels'] = torch.cat([torch.full_like(pred['labels'], 2), pred['labels']])
    assert evaluate(metric, [dict(samples[0], pred_instances=wrong), *samples[1:]])['lvis/bbox_APf'] < 1


def test_annotation_file_overrides_the_training_data(tmp_path):
    metric = metric_on(tmp_path)
    metric.set_class_distribution(ClassDistribution([5, 5, 500, 500], class_names=CLASSES))
    assert evaluate(metric, perfect(lvis_content())[:1])['lvis/bbox_APr'] == pytest.approx(1)


def test_neither_frequency_nor_class_distribution(tmp_path):
    metric = metric_on(tmp_path, without_frequency())
    with pytest.raises(RuntimeError, match=r'annotations.json has no `frequency`.*ClassDistributionHook'):
        metric.process(None, perfect(lvis_content())[:1])


def test_training_classes_in_another_order_or_number(tmp_path):
    metric = metric_on(tmp_path)
    with pytest.raises(ClassDistributionError, match=r"class 1 is 'mug' in training and 'ladder' in "):
        metric.set_class_distribution(ClassDistribution([4, 3, 2, 1], class_names=['kite', 'mug', 'ladder', 'oar']))
    with pytest.raises(ClassDistributionError, match=r'the 3 classes of the training data in .*, but it has 4'):
        metric.set_class_distribution(ClassDistribution([4, 3, 2], class_names=['kite', 'ladder', 'mug']))
    metric.set_class_distribution(ClassDistribution([4, 3, 2, 1], class_names=['Kite', 'ladder', 'mug', 'oar']))


# ------------------------------------------------------------------ files


@pytest.fixture
def log(tmp_path):
    (tmp_path / 'logs').mkdir()
    logger = MMLogger.get_instance('lvis_metric_test', log_file=str(tmp_path / 'logs' / 'run.log'))
    yield tmp_path / 'logs'
    for handler in logger.handlers:
        handler.close()
    MMLogger._instance_dict.pop('lvis_metric_test')


def test_csv_per_class(tmp_path, log):
    content = lvis_content()
    metric = metric_on(tmp_path, content, metric=['bbox', 'segm'])
    metric.set_class_distribution(ClassDistribution([500, 90, 101, 9], class_names=CLASSES))
    samples = perfect(content, masks=True)
    for s in samples:
        s['pred_instances']['bboxes'][s['pred_instances']['labels'] == 1] += 40
    figures = evaluate(metric, samples)
    report = DetectionReport.read(log / 'per_class_bbox.csv')
    assert report.names == CLASSES and report.train_images.tolist() == [500, 90, 101, 9]
    assert report.frequency.tolist() == ['f', 'f', 'c', 'r']
    assert report.ap.tolist() == [100, 0, 100, 100]
    objects = [CATEGORY_IDS.index(a['category_id']) for a in content['annotations']]
    assert report.test_instances.tolist() == [objects.count(c) for c in range(4)]
    assert report.test_images[0] == 8 and report.test_images[3] == 1
    assert report.figures()['AP'] == pytest.approx(100 * figures['lvis/bbox_AP'])
    assert report.figures()['AP_fixed'] == pytest.approx(100 * figures['lvis/bbox_AP_fixed'])
    assert DetectionReport.read(log / 'per_class_segm.csv').ap.tolist() == [100] * 4


@pytest.mark.parametrize('iou_type', ['bbox', 'segm'])
def test_outfile_of_detections(tmp_path, iou_type):
    content = lvis_content()
    metric = metric_on(tmp_path, content, metric=iou_type, outfile_prefix=str(tmp_path / 'out/found'))
    samples = [sample(content['images'][0]['id'], masks=True), *perfect(content, masks=True)[1:]]
    figures = evaluate(metric, samples)
    assert [path.name for path in (tmp_path / 'out').iterdir()] == [f'found.{iou_type}.json']
    read = Detections.read(tmp_path / f'out/found.{iou_type}.json', metric.ground_truth, masks=iou_type == 'segm')
    evaluator = LVISEvaluator(metric.ground_truth, read, iou_type)
    again = evaluator.best_per_image().figures(metric._frequency())
    assert 0 < again['AP'] < 1 and again['AP'] == pytest.approx(figures[f'lvis/{iou_type}_AP'], abs=1e-9)


def test_csv_name(tmp_path, log):
    content = lvis_content()
    evaluate(metric_on(tmp_path, content, csv_name=None), perfect(content))
    assert not list(log.glob('*.csv'))
    evaluate(metric_on(tmp_path, content, csv_name='mine.csv'), perfect(content))
    assert DetectionReport.read(log / 'mine_bbox.csv').train_images is None


# ------------------------------------------------------------------ invalid input


RUNS = dict(size=[SIZE, SIZE], counts=[100])


@pytest.mark.parametrize(
    'options, changed, message',
    [
        ({}, dict(scores=torch.tensor([np.nan, 1])), 'finite scores, but the model predicts NaN .* in image 10'),
        ({}, dict(bboxes=torch.full((2, 4), np.inf)), 'finite bboxes'),
        ({}, dict(labels=torch.tensor([-1, 0])), r'labels in \[0, 4\), but the model predicts -1 in image 10'),
        ({}, dict(labels=torch.tensor([4, 0])), 'but the model predicts 4 in image 10'),
        ({}, dict(img_id=999), r'Image 999 is not in .*annotations.json'),
        ({}, dict(img_path='/data/val/7.jpg'), '/data/val/7.jpg in the dataset, but train2017/000000000010.png in'),
        (dict(metric='segm'), dict(masks=None), "metric='segm'\\) needs masks"),
        (dict(metric='segm'), dict(masks=[RUNS] * 2), 'mask 0 of image 10 has run lengths'),
        (dict(metric='segm'), dict(masks=[dict(RUNS, counts=b'ooo')] * 2), 'mask 0 of image 10 has run lengths'),
        (
            dict(metric='segm'),
            dict(masks=torch.ones(2, 30, SIZE)),
            r'size of image 10, \[64, 64\], but got \[30, 64\]',
        ),
        (
            dict(metric='segm'),
            dict(masks=[dict(RUNS, size=[30, SIZE])] * 2),
            r'image 10 has the size \[30, 64\], but its image \[64, 64\]',
        ),
    ],
)
def test_invalid_prediction(tmp_path, options, changed, message):
    first = perfect(lvis_content(), masks=True)[0]
    first['img_path'] = '/data/train/000000000010.png'
    metric_on(tmp_path, **options).process(None, [first])  # valid
    for key, value in changed.items():
        where = first if key.startswith('img') else first['pred_instances']
        where[key] = value
        if value is None:
            del where[key]
    with pytest.raises(ValueError, match=message):
        metric_on(tmp_path, **options).process(None, [first])


def test_boxes_of_negative_size_are_false_positives(tmp_path):
    content = lvis_content()
    samples = perfect(content)
    prepend(samples[0], [[9, 9, 3, 3], [9, 9, 9, 30]], label=3, score=0.95)
    assert evaluate(metric_on(tmp_path, content), samples)['lvis/bbox_APr'] == pytest.approx(1 / 3)


def test_masks_as_run_lengths(tmp_path):
    content = lvis_content()
    samples = perfect(content, masks=True)
    expected = evaluate(metric_on(tmp_path, content, metric='segm'), samples)
    for s in samples:
        s['pred_instances']['masks'] = encode_masks(s['pred_instances']['masks'].numpy())
    assert evaluate(metric_on(tmp_path, content, metric='segm'), samples) == expected


def test_image_without_objects_counts_false_positives(tmp_path):
    content = lvis_content()
    content['annotations'] = [ann for ann in content['annotations'] if ann['image_id'] != 10]  # the only oar
    content['images'][0]['neg_category_ids'] = list(CATEGORY_IDS)
    samples = perfect(content)
    figures = evaluate(metric_on(tmp_path, content), samples)
    assert figures['lvis/bbox_AP'] == pytest.approx(1) and 'lvis/bbox_APr' not in figures
    samples[0] = sample(10, [[5, 5, 20, 20]], [0], [1.0])
    assert evaluate(metric_on(tmp_path, content), samples)['lvis/bbox_APf'] < 1


def test_no_annotations(tmp_path):
    content = lvis_content()
    content['annotations'] = []
    samples = [sample(image['id'], [[5, 5, 20, 20]], [0], masks=True) for image in content['images']]
    figures = evaluate(metric_on(tmp_path, content, metric=['bbox', 'segm']), samples)
    assert figures == {}


def test_no_annotation_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.json does not exist'):
        LVISMetric(str(tmp_path / 'nowhere.json'))


def without(part, field):
    content = lvis_content()
    for record in content[part]:
        del record[field]
    return content


def with_letter(letter):
    content = lvis_content()
    content['categories'][1]['frequency'] = letter
    return content


@pytest.mark.parametrize(
    'content, options, message',
    [
        (without('images', 'neg_category_ids'), {}, "8 images .*'neg_category_ids'"),
        (without('images', 'not_exhaustive_category_ids'), {}, "8 images .*'not_exhaustive_category_ids'"),
        (without('annotations', 'segmentation'), dict(metric='segm'), 'annotations .*segmentation'),
        (with_letter('x'), {}, "`frequency` to be 'r', 'c' or 'f' .* category 5 has 'x'"),
        (None, dict(classes=('kite', 'boat')), "'boat'"),
        (None, dict(metric='proposal'), "`metric` to be 'bbox', 'segm' or both"),
        (None, dict(metric=[]), '`metric`'),
        (None, dict(metric=['bbox', 'mask']), '`metric`'),
        (None, dict(thresholds=(100, 10)), '`thresholds` to be two ascending'),
        (None, dict(thresholds=(10,)), '`thresholds`'),
        (None, dict(thresholds=(10, 10)), '`thresholds`'),
        (None, dict(thresholds=(-1, 5)), '`thresholds`'),
        (None, dict(outfile_prefix=''), '`outfile_prefix` to end in a file name'),
        (None, dict(outfile_prefix='folder/'), '`outfile_prefix`'),
        (None, dict(groups=dict(new=['kites', 'oar', 'boat'])), r"2 of 'new' are not, 'kites' .* mean kite\?"),
        (None, dict(groups=dict(new='kite')), "lists of classes, but got new='kite'"),
        (None, dict(groups=dict(fixed=['kite'])), "not 'fixed'"),
    ],
)
def test_invalid_argument(tmp_path, content, options, message):
    with pytest.raises(ValueError, match=message):
        metric_on(tmp_path, content, **options)


def test_empty_test_set(tmp_path):
    with pytest.raises(ValueError, match='the test set is empty'):
        metric_on(tmp_path).evaluate(0)


# ------------------------------------------------------------------ end to end


@pytest.fixture
def data(tmp_path):
    write_lvis(tmp_path / 'data', lvis_content())
    return tmp_path / 'data'


@pytest.mark.slow
def test_eql_trains_and_is_tested_from_its_checkpoint(tmp_path, data):
    cfg = detector_config(tmp_path / 'run', data, **{'train_cfg.max_epochs': 10, 'train_cfg.val_interval': 10})
    cfg.val_evaluator.metric = cfg.test_evaluator.metric = ['bbox', 'segm']
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert runner.model.roi_head.bbox_head.loss_cls.is_tail.tolist() == [0, 1, 0, 1]
    trained = runner.val_loop.run()
    assert trained['lvis/bbox_AP'] > 0 and trained['lvis/segm_AP'] > 0
    log = (tmp_path / 'run').glob('*/*.log').__next__().read_text()
    assert 'APr     APc     APf' in log and '8 images; classes: 2 frequent, 1 common, 1 rare (`frequency`' in log
    assert 'frequent (> 100)' in log and 'few' not in log  # one vocabulary
    checkpoint = tmp_path / 'run/epoch_10.pth'
    assert torch.load(checkpoint, weights_only=True)['state_dict']
    cfg.dump(tmp_path / 'cfg.py')
    test = run_tool('tools/test.py', tmp_path / 'cfg.py', checkpoint, '--work-dir', tmp_path / 'test')
    assert test.returncode == 0, test.stderr[-3000:]
    assert f'lvis/bbox_AP: {trained["lvis/bbox_AP"]:.4f}' in test.stdout + test.stderr


@pytest.mark.slow
def test_subset_by_indices(tmp_path, data):
    cfg = detector_config(tmp_path / 'run', data, **{'test_dataloader.dataset.indices': 3})
    runner = Runner.from_cfg(cfg)
    runner.test()
    assert '3 images' in (tmp_path / 'run').glob('*/*.log').__next__().read_text()


@pytest.mark.slow
def test_test_set_with_another_order_of_classes_than_the_checkpoint(tmp_path, data):
    Runner.from_cfg(detector_config(tmp_path / 'run', data, **{'train_cfg.max_epochs': 1})).train()
    cfg = detector_config(tmp_path / 'test', data, load_from=str(tmp_path / 'run/epoch_1.pth'))
    cfg.test_dataloader.dataset.metainfo = dict(classes=CLASSES[::-1])
    with pytest.raises(ClassDistributionError, match=f'class 0 is {CLASSES[0]!r} in training and {CLASSES[-1]!r} in'):
        Runner.from_cfg(cfg).test()


@pytest.mark.slow
def test_head_with_another_number_of_classes(tmp_path, data):
    cfg = detector_config(tmp_path / 'run', data, **{'model.roi_head.bbox_head.num_classes': 5})
    with pytest.raises(ClassDistributionError, match='bbox_head.num_classes is 5. It does not count'):
        Runner.from_cfg(cfg).train()
    assert not list((tmp_path / 'run').glob('*.pth'))


@pytest.mark.parametrize('kind, gives_masks', dict(retinanet=0, deformable_detr=0, cascade_rcnn=0, mask_rcnn=1).items())
def test_check_model(tmp_path, kind, gives_masks):
    model = build_detector(kind, dict(type='FocalLoss', use_sigmoid=True) if 'rcnn' not in kind else CROSS_ENTROPY)
    metric_on(tmp_path, metric='bbox').check_model(model)
    with nullcontext() if gives_masks else pytest.raises(ValueError, match='needs a model with a mask head'):
        metric_on(tmp_path, metric=['bbox', 'segm']).check_model(model)


def test_check_model_of_one_stage_masks(tmp_path):
    cfg = get_config('mmdet::rtmdet/rtmdet-ins_tiny_8xb32-300e_coco.py').model
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg)
    metric_on(tmp_path, metric='segm').check_model(model)


@pytest.mark.slow
@pytest.mark.parametrize('step', ['train', 'test'])
def test_model_without_masks_fails_before_the_run(tmp_path, data, step):
    cfg = detector_config(tmp_path / 'run', data)
    cfg.model.roi_head.pop('mask_head'), cfg.model.roi_head.pop('mask_roi_extractor')
    cfg.val_evaluator.metric = cfg.test_evaluator.metric = ['bbox', 'segm']
    with pytest.raises(ValueError, match='needs a model with a mask head, but MaskRCNN'):
        getattr(Runner.from_cfg(cfg), step)()
    assert not list((tmp_path / 'run').glob('*.pth'))
