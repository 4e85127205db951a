import json

import pytest
from mmdet.datasets import CocoDataset
from mmengine.dataset import ConcatDataset, RepeatDataset
from toy_lvis import CLASSES, lvis_content

from ltmm.datasets.labels.coco_names import check_coco_names

MOVED = ('mug', *CLASSES[:2], CLASSES[3])


def coco(folder, classes, names=CLASSES):
    content = lvis_content()
    for category, name in zip(content['categories'], names):
        category['name'] = name
    for image in content['images']:
        image['file_name'] = f'{image["id"]}.jpg'
    path = folder / 'annotations.json'
    path.write_text(json.dumps(content))
    return CocoDataset(ann_file=str(path), metainfo=dict(classes=classes), data_prefix=dict(img=''), pipeline=[])


def test_labels_that_follow_metainfo(tmp_path):
    check_coco_names(coco(tmp_path, CLASSES))
    check_coco_names(coco(tmp_path, CLASSES[1:3]))
    check_coco_names([1, 2])  # no dataset of mmdet


@pytest.mark.parametrize(
    'classes, names, message',
    [
        (MOVED, CLASSES, "mmdet labels 'kite' as class 0, 'mug'"),
        (CLASSES, MOVED, "mmdet labels 'mug' as class 0, 'kite'"),  # a test set exported by another program
        (('kite', 'lader', 'mug'), CLASSES, "'lader' is no category of it. Did you mean ladder"),
    ],
)
def test_labels_of_other_classes(tmp_path, classes, names, message):
    dataset = coco(tmp_path, classes, names)
    for wrapped in (dataset, RepeatDataset(dataset, 2), ConcatDataset([dataset])):
        with pytest.raises(ValueError, match=message):
            check_coco_names(wrapped)
