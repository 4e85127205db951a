import json

import pytest
from mmengine.registry import DefaultScope
from toy_semi import WEAK

from ltmm.datasets import class_distribution_of
from ltmm.registry import DATASETS


def build(path, labels, classes=None):
    path.write_text(json.dumps(dict(classes=classes, labels=labels)))
    return build_from(path)


def build_from(path):
    images = dict(type='ltmm.ToyImages', pipeline=[*WEAK, dict(type='PackInputs')])
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return DATASETS.build(
            dict(
                type='ltmm.PseudoLabeled',
                labeled=images,
                unlabeled=dict(images, counts=(1, 1, 2)),
                pseudo_labels=str(path),
            )
        )


def test_pseudo_labels_replace_the_true_ones_and_are_counted(tmp_path):
    dataset = build(tmp_path / 'labels.json', [2, 2, 0, 2])
    assert [dataset[64 + i]['data_samples'].gt_label.item() for i in range(4)] == [2, 2, 0, 2]
    assert [dataset.get_data_info(64 + i)['gt_label'] for i in range(4)] == [2, 2, 0, 2]
    assert dataset[0]['data_samples'].gt_label.item() == 0
    assert class_distribution_of(dataset).image_counts.tolist() == [41, 16, 11]
    assert dataset.true_labels[64:].tolist() == [0, 1, 2, 2]


@pytest.mark.parametrize(
    ('labels', 'classes', 'message'),
    [
        ([2, 2, 0], None, 'expected pseudo-labels of 4 unlabeled images, but got 3'),
        ([2, 2, 0, 3], None, r'Expected labels in \[0, 3\)'),
        ([2, 2, 0, 1], ['a', 'b', 'c'], 'expected the 3 classes of the labeled images'),
    ],
)
def test_bad_input(tmp_path, labels, classes, message):
    with pytest.raises(ValueError, match=message):
        build(tmp_path / 'labels.json', labels, classes)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / 'labels.json'
    path.write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r"as PseudoLabelStage writes it, but got \['a'\]"):
        build_from(path)
