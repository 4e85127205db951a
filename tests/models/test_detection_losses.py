"""Every loss for detection in every detector it fits: a step with objects, one without, and a prediction."""

import pytest
from toy_detectors import NUM_CLASSES, batch, build_detector, predict, train_step

pytestmark = pytest.mark.slow

BAGS = dict(type='ltmm.BalancedGroupSoftmaxLoss', group_bounds=(10,))
DROP = dict(type='ltmm.DropLoss', lambda_=0.1)
GOL = dict(DROP, activation='gumbel')
GUMBEL = dict(type='ltmm.GumbelCrossEntropyLoss')
EFL = dict(type='ltmm.EqualizedFocalLoss')
ECM = dict(type='ltmm.ECMLoss')
EQL = dict(type='ltmm.EQLLoss', lambda_=0.1)
EQLV2 = dict(type='ltmm.EQLv2Loss')
FEDERATED = dict(type='ltmm.FederatedLoss', num_sampled_classes=2)
SEESAW = dict(type='ltmm.SeesawLoss')
BACL = dict(type='ltmm.BACLLoss', feat_dim=16)
LOCE = dict(type='ltmm.LOCELoss', feat_dim=16)
SIGMOID = dict(type='ltmm.SigmoidCrossEntropyLoss')
SOFTMAX = dict(type='mmdet.CrossEntropyLoss', use_sigmoid=False)
FOCAL = dict(type='mmdet.FocalLoss', use_sigmoid=True)
BOX_HEAD = 'ltmm.Shared2FCBBoxHead'
BOX_LOSSES = (SOFTMAX, EQL, EQLV2, SIGMOID, SEESAW, BAGS, EFL, DROP, GOL, GUMBEL, LOCE, BACL, ECM, FEDERATED)
CASES = [
    *(('mask_rcnn', BOX_HEAD, loss) for loss in BOX_LOSSES),
    *(('cascade_rcnn', BOX_HEAD, loss) for loss in BOX_LOSSES),
    *(('retinanet', 'ltmm.RetinaHead', loss) for loss in (FOCAL, DROP, EFL, EQL, EQLV2, ECM, FEDERATED)),
    *(('atss', 'ltmm.ATSSHead', loss) for loss in (FOCAL, DROP, EFL, EQL, EQLV2, ECM, FEDERATED)),
    ('gfl', 'ltmm.GFLHead', dict(type='mmdet.QualityFocalLoss', use_sigmoid=True)),
    ('gfl', 'ltmm.GFLHead', dict(type='ltmm.EqualizedQualityFocalLoss')),
    *(('deformable_detr', 'ltmm.DeformableDETRHead', loss) for loss in (FOCAL, DROP, EFL, EQL, EQLV2, ECM, FEDERATED)),
]


@pytest.mark.parametrize('kind, head, loss_cls', CASES, ids=lambda v: v['type'] if isinstance(v, dict) else v)
def test_training_and_prediction(kind, head, loss_cls):
    model = build_detector(kind, loss_cls, type=head)
    before = {name: value.clone() for name, value in model.named_parameters()}
    losses = train_step(model, batch())
    assert all(loss.isfinite().all() for loss in losses.values())
    classifiers = [name for name in before if 'cls' in name and 'rpn' not in name and name.endswith('weight')]
    parameters = dict(model.named_parameters())
    assert classifiers and all((parameters[name] != before[name]).any() for name in classifiers)
    assert all(loss.isfinite().all() for loss in train_step(model, batch(num_objects=0)).values())
    for found in predict(model, batch()):
        assert len(found) and found.scores.isfinite().all() and found.labels.max() < NUM_CLASSES


def test_counts_per_stage_of_a_cascade():
    model = build_detector('cascade_rcnn', SEESAW, type=BOX_HEAD)
    train_step(model, batch())
    counts = [head.loss_cls.counts.counts for head in model.roi_head.bbox_head]
    assert all(count[:NUM_CLASSES].sum() > 0 for count in counts) and len({id(count) for count in counts}) == 3
