import json
from collections import defaultdict

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from toy_lvis import CLASSES, dataset_config, lvis_content, write_lvis

from ltmm.datasets import class_distribution_of
from ltmm.datasets.wrappers.exemplars import BoxTable, ExemplarFileError, Exemplars, choose_exemplars
from ltmm.registry import DATASETS


def naive_exemplars(scores, labels, images, score_thr, max_per_class):
    """The authors' order: the best of distinct images above the threshold, then the remaining best."""
    rows = []
    for label in sorted(set(labels)):
        ranking = sorted((row for row in range(len(scores)) if labels[row] == label), key=lambda row: -scores[row])
        first, seen = [], set()
        for row in ranking:
            if scores[row] > score_thr and images[row] not in seen:
                seen.add(images[row])
                first.append(row)
        chosen = list(dict.fromkeys(first + ranking[:max_per_class]))
        rows += chosen[:max_per_class]
    return rows


@pytest.mark.parametrize('max_per_class', [1, 5, 40, 1000])
@pytest.mark.parametrize('score_thr', [0.0, 0.5, 0.99])
def test_order_equals_the_authors(max_per_class, score_thr):
    rng = np.random.default_rng(max_per_class)
    scores = rng.permutation(np.linspace(0, 1, 200))  # no ties
    labels, images = rng.choice(6, 200, p=(0.5, 0.3, 0.1, 0.05, 0.05, 0)), rng.integers(0, 30, 200)
    rows = choose_exemplars(scores, labels, images, score_thr, max_per_class)
    assert rows.tolist() == naive_exemplars(scores, labels, images, score_thr, max_per_class)


def test_ties_and_empty_data():
    rows = choose_exemplars(np.zeros(5), np.array([1, 0, 1, 0, 1]), np.array([7, 7, 8, 8, 9]), 0.5, 2)
    assert rows.tolist() == [1, 3, 0, 2]
    assert not len(choose_exemplars(np.zeros(0), np.zeros(0, int), np.zeros(0, int), 0.5, 2))


def content_with_invalid_boxes():
    """An annotation file with crowd regions, ignored boxes, and boxes outside, without area and too thin."""
    content = lvis_content()
    broken = (
        dict(iscrowd=1),
        dict(ignore=1),
        dict(bbox=[70, 2, 10, 10]),
        dict(area=0),
        dict(bbox=[5, 5, 0.5, 9]),
        dict(bbox=[60, 60, 20, 20]),  # partly outside: valid
    )
    for annotation, change in zip(content['annotations'], broken):
        annotation.update(change)
    return content


def test_table_equals_the_dataset(tmp_path):
    content = content_with_invalid_boxes()
    write_lvis(tmp_path, content)
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(dataset_config(tmp_path))
    table = BoxTable.of(content, dataset.cat2label)
    boxes = defaultdict(list)
    for image, label, box in zip(table.image_ids.tolist(), table.labels.tolist(), table.boxes.tolist()):
        boxes[image].append((label, box))
    for i in range(len(dataset)):
        info = dataset.get_data_info(i)
        instances = [(x['bbox_label'], x['bbox']) for x in info['instances'] if not x['ignore_flag']]
        assert boxes[info['img_id']] == instances
    assert len(table) == len(content['annotations']) - 5
    assert table.class_distribution(CLASSES) == class_distribution_of(dataset)


def test_subset_of_categories():
    table = BoxTable.of(lvis_content(), {9: 0, 2: 1})
    assert np.bincount(table.labels).tolist() == [1, 8]


def test_write_and_read(tmp_path):
    exemplars = Exemplars({2: [5, 1], 9: []}, {2: [0.75, 0.5], 9: []}, 4)
    exemplars.write(tmp_path / 'sub/exemplars.json', {2: 'kite', 9: 'oar'})
    read = Exemplars.read(tmp_path / 'sub/exemplars.json')
    assert (read.annotation_ids, read.scores, read.max_per_class) == ({2: [5, 1], 9: []}, {2: [0.75, 0.5], 9: []}, 4)
    assert json.loads((tmp_path / 'sub/exemplars.json').read_text())['categories'][0]['name'] == 'kite'


@pytest.mark.parametrize('text', ['{"max_per_class": 4, "categor', '[]', '{"categories": [{"id": 2}]}'])
def test_broken_file(tmp_path, text):
    (tmp_path / 'exemplars.json').write_text(text)
    with pytest.raises(ExemplarFileError, match=r'exemplars.json .*\w+Error'):
        Exemplars.read(tmp_path / 'exemplars.json')


def test_missing_file():
    with pytest.raises(FileNotFoundError, match=r'stage://mining .*train_stages.py'):
        Exemplars.read('stage://mining')
