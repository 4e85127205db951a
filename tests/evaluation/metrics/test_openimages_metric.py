import numpy as np
import pytest
import torch

pytest.importorskip('mmdet')

from mmdet.evaluation import OpenImagesMetric as MMDetOpenImagesMetric

from ltmm import ClassDistribution
from ltmm.evaluation.metrics import OpenImagesMetric
from ltmm.utils.errors import InputError

COUNTS = [50, 40, 30, 20, 10, 5]  # AP1 is that of classes 5 and 4, AP5 that of class 0
META = dict(classes=tuple('abcdef'), dataset_type='oid_challenge', RELATION_MATRIX=np.eye(6))


def sample(truth, detected):
    """An image with a box per class of ``truth``, and a detection on that of each class of ``detected``."""
    box = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    return dict(
        instances=[dict(bbox=box[0].tolist(), bbox_label=label, is_group_of=False) for label in truth],
        pred_instances=dict(
            bboxes=box.repeat(len(detected), 1), scores=torch.ones(len(detected)), labels=torch.tensor(detected)
        ),
        image_level_labels=np.arange(6),
    )


SAMPLES = [sample([0, 2, 5], [0, 5]), sample([1, 2], [2, 3])]  # class 3 has a false one, 4 neither box nor detection


def figures(metric, **meta):
    metric.dataset_meta = META | meta
    if isinstance(metric, OpenImagesMetric):
        metric.set_class_distribution(ClassDistribution(COUNTS, class_names=META['classes']))
    for one in SAMPLES:
        metric.process({}, [one])
    return metric.evaluate(len(SAMPLES))


def test_groups_of_classes():
    found = figures(OpenImagesMetric())
    assert found['openimages/AP50'] == pytest.approx((1 + 0 + 0.5 + 1) / 4)  # of classes 0, 1, 2, 5
    groups = {name: value for name, value in found.items() if name != 'openimages/AP50'}
    assert groups == pytest.approx({f'openimages/AP{number}': ap for number, ap in {1: 1, 3: 0.5, 4: 0, 5: 1}.items()})


def test_ap_is_that_of_mmdet():
    theirs = figures(MMDetOpenImagesMetric(iou_thrs=[0.5, 0.95], ioa_thrs=[0.5, 0.95]))
    ours = figures(OpenImagesMetric(iou_thrs=[0.5, 0.95], ioa_thrs=[0.5, 0.95]))
    assert {name: ours[name] for name in ours if name.endswith(('50', '95'))} == pytest.approx(
        {name: theirs[name] for name in theirs if name != 'openimages/mAP'}, abs=5e-4
    )


def test_classes_of_another_order_are_refused():
    with pytest.raises(InputError, match='test set'):
        figures(OpenImagesMetric(), classes=tuple('bacdef'))


def test_bad_input():
    with pytest.raises(InputError, match='leave out `scale_ranges`'):
        OpenImagesMetric(scale_ranges=[(0, 32)])
    with pytest.raises(InputError, match='`ioa_thrs` to be numbers with use_group_of=True, but got None'):
        OpenImagesMetric(ioa_thrs=None)
    with pytest.raises(InputError, match='test set is empty'):
        OpenImagesMetric().evaluate(0)
