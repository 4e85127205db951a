import pytest
from mmengine.registry import DefaultScope
from mmpretrain.models.heads import LinearClsHead, MultiLabelLinearClsHead
from torch import nn

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.models.accepts import check_losses
from ltmm.registry import MODELS

BALANCED_SOFTMAX = dict(type='ltmm.BalancedSoftmaxLoss')
BCE = dict(type='ltmm.MultiLabelBCELoss')
CE = dict(type='CrossEntropyLoss')
BALANCER = dict(type='ltmm.HeadTailBalancerLoss')
BAGS = dict(type='ltmm.BalancedGroupSoftmaxLoss')
BALPOE = dict(type='ltmm.BalPoELoss')
COSINE = dict(type='ltmm.NormedLinear')
EQL = dict(type='ltmm.EQLLoss', lambda_=0.1)
EQLV2 = dict(type='ltmm.EQLv2Loss')
FOCAL = dict(type='FocalLoss', use_sigmoid=True)
MODIFIER = dict(type='ltmm.MultiFocalModifierLoss')
RIDE = dict(type='ltmm.RIDELoss', diversity_factor=-0.2, reweight_factor=0.02, reweight_epoch=None)
SEESAW = dict(type='ltmm.SeesawLoss')
SIGMOID = dict(type='ltmm.SigmoidCrossEntropyLoss')
LDAM = dict(type='ltmm.LDAMLoss')
DEFERRED_LDAM = dict(type='ltmm.DeferredReweighting', loss=LDAM, start_epoch=1, kind='inverse')


def box(loss: dict | None = None, type: str = 'ltmm.Shared2FCBBoxHead', **options) -> nn.Module:
    options |= {} if loss is None else dict(loss_cls=loss)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(dict(type=type, num_classes=3, **options))


def detr(loss: dict, scope: str = 'ltmm', **options) -> nn.Module:
    return box(loss, f'{scope}.DeformableDETRHead', embed_dims=16, num_pred_layer=2, **options)


def head(type: str, loss: dict, **options) -> nn.Module:
    return MODELS.build({'type': f'ltmm.{type}', 'num_classes': 3, 'in_channels': 4, 'loss': loss, **options})


def cls_head(loss: dict, **options) -> nn.Module:
    return head('LongTailClsHead', loss, **options)


def multi_label_head(loss: dict, **options) -> nn.Module:
    return head('MultiLabelClsHead', loss, **options)


def expert_head(loss: dict = BALPOE, **options) -> nn.Module:
    return head('MultiExpertClsHead', loss, **{'num_experts': 3, **options})


def ride_head(scale: float, classifier: dict) -> nn.Module:
    return expert_head(dict(RIDE, scale=scale), classifier=classifier)


def comic_head(**losses) -> nn.Module:
    return MODELS.build(dict(type='ltmm.COMICHead', num_classes=3, in_channels=4, **losses))


def foreign(head: nn.Module, loss: dict) -> None:
    """Check a head of mmpretrain or mmdet with this loss, as before a training."""
    setattr(head, 'loss_cls' if hasattr(head, 'loss_cls') else 'loss_module', MODELS.build(loss))
    check_losses(nn.ModuleDict(dict(head=head)))


REFUSED = {
    'multi-label loss': lambda: cls_head(BCE),
    'detection loss': lambda: cls_head(EQL),
    'ranking of ROG': lambda: cls_head(dict(type='ltmm.GAPLoss', num_classes=3)),
    'ROG': lambda: cls_head(dict(type='ltmm.ROGLoss', loss=EQL)),
    'expert loss in one network': lambda: cls_head(BALPOE),
    'nested detection loss': lambda: cls_head(dict(DEFERRED_LDAM, loss=EQL), classifier=COSINE),
    'wrapped expert loss in one network': lambda: cls_head(dict(DEFERRED_LDAM, loss=BALPOE)),
    'cosines of plain layers, per expert': lambda: expert_head(dict(type='ltmm.PerExpertLoss', loss=DEFERRED_LDAM)),
    'auxiliary loss of logits': lambda: cls_head(CE, aux_losses=[LDAM]),
    'auxiliary expert loss in one network': lambda: cls_head(CE, aux_losses=[BALPOE]),
    'teacher in a box head': lambda: box(CE, aux_losses=[dict(RIDE, type='ltmm.RIDEDistillLoss')]),
    'cosines of a plain layer': lambda: cls_head(LDAM),
    'nested cosines of a plain layer': lambda: cls_head(DEFERRED_LDAM),
    'cosines of plain layers of experts': lambda: expert_head(RIDE),
    'single-label loss in a multi-label head': lambda: multi_label_head(BALANCED_SOFTMAX),
    'balancer in a multi-label head': lambda: multi_label_head(dict(BALANCER, loss=BCE)),
    'loss of one network in an expert head': lambda: expert_head(BALANCED_SOFTMAX),
    'loss of mmpretrain in an expert head': lambda: expert_head(dict(type='mmpretrain.CrossEntropyLoss')),
    'cosines in a foreign head': lambda: foreign(LinearClsHead(3, 4), LDAM),
    'detection loss in a foreign head': lambda: foreign(LinearClsHead(3, 4), EQL),
    'single-label loss in a foreign multi-label head': lambda: foreign(MultiLabelLinearClsHead(3, 4), LDAM),
    'single-label corrector': lambda: comic_head(corrector=LDAM),
    'balancer as corrector': lambda: comic_head(corrector=dict(BALANCER, loss=BCE)),
    'balancer as loss': lambda: comic_head(loss=dict(BALANCER, loss=BCE), balancer=None),
    'single-label loss in the balancer': lambda: comic_head(balancer=dict(BALANCER, loss=BALANCED_SOFTMAX)),
    'classification loss in a box head': lambda: box(LDAM),
    'loss of one classifier in an expert box head': lambda: box(EQL, 'ltmm.MultiExpertBBoxHead'),
    'Seesaw in RetinaNet': lambda: box(SEESAW, 'ltmm.RetinaHead', in_channels=8),
    'groups in RetinaNet': lambda: box(BAGS, 'ltmm.RetinaHead', in_channels=8),
    'EQL in GFL': lambda: box(EQL, 'ltmm.GFLHead', in_channels=8),
    'background column in ATSS': lambda: box(SIGMOID, 'ltmm.ATSSHead', in_channels=8),
    'Seesaw in Deformable DETR': lambda: detr(SEESAW),
    **{
        f'{loss["type"]} in RetinaNet of mmdet': lambda loss=loss: foreign(box(None, 'RetinaHead', in_channels=8), loss)
        for loss in (EQL, EQLV2, dict(type='ltmm.ROGLoss', loss=SIGMOID))
    },
    'EQLv2 in Deformable DETR of mmdet': lambda: foreign(detr(FOCAL, 'mmdet'), EQLV2),
    'box head with a width of its own': lambda: foreign(box(None, 'DIIHead'), EQLV2),
    'SABL head': lambda: foreign(box(None, 'SABLHead'), EQLV2),
    'double head': lambda: foreign(box(None, 'DoubleConvFCBBoxHead', num_convs=1, num_fcs=1), EQLV2),
}
WRONG_SETTINGS = {
    'number of classes': (lambda: cls_head(CE, num_classes=0), '`num_classes`'),
    'number of classes of experts': (lambda: expert_head(num_classes=0), '`num_classes`'),
    'number of labels': (lambda: multi_label_head(BCE, num_classes=0), '`num_classes`'),
    'counts': (lambda: expert_head(class_counts=[1, 2]), 'expected `class_counts` to have 3 entries, but got 2'),
    'counts with background': (lambda: cls_head(CE, class_counts=[4, 3, 2, 1]), 'to have 3 entries, but got 4.$'),
    'counts of the loss': (lambda: cls_head(dict(BALANCED_SOFTMAX, class_counts=[4, 3, 2, 1])), 'BalancedSoftmaxLoss'),
    'counts of an expert loss': (lambda: expert_head(dict(BALPOE, class_counts=[2, 1])), 'BalPoELoss has counts of 2'),
    'counts of a box head loss': (lambda: box(dict(EQL, class_counts=[4, 3, 2, 1])), 'EQLLoss has counts of 4'),
    'class weights': (
        lambda: cls_head(dict(BALANCED_SOFTMAX, class_weight=[1.0] * 4)),
        'num_classes=3, but its BalancedSoftmaxLoss has a `class_weight` of 4 classes.$',
    ),
    'class weights with background': (
        lambda: box(dict(SIGMOID, class_weight=[1.0] * 4)),
        'its SigmoidCrossEntropyLoss has a `class_weight` of 4 classes. Leave the background class out',
    ),
    'class weights of a wrapped loss': (
        lambda: box(dict(type='ltmm.ROGLoss', loss=dict(EQLV2, class_weight=[1.0, 2.0]))),
        'its EQLv2Loss has a `class_weight` of 2 classes',
    ),
    'counts of an inner loss': (
        lambda: cls_head(dict(DEFERRED_LDAM, loss=dict(LDAM, num_classes=2)), classifier=COSINE),
        'num_classes=3, but its LDAMLoss has counts of 2',
    ),
    'counts of the balancer': (
        lambda: comic_head(balancer=dict(BALANCER, loss=dict(MODIFIER, class_counts=[4, 3, 2, 1]))),
        'num_classes=3, but its MultiFocalModifierLoss has counts of 4',
    ),
    'experts of the loss': (lambda: expert_head(dict(BALPOE, taus=(0, 1))), 'BalPoELoss is for 2 experts'),
    'experts of SADE': (lambda: expert_head(dict(type='ltmm.SADELoss'), num_experts=2), 'SADELoss is for 3 experts'),
    'experts of the aggregation': (
        lambda: expert_head(aggregation=dict(type='ltmm.WeightedAggregation', weights=[0.5, 0.5])),
        'WeightedAggregation is for 2 experts, but num_experts=3',
    ),
    'cosines scaled twice': (
        lambda: cls_head(LDAM, classifier=dict(COSINE, scale=16)),
        r'LDAMLoss\(scale=30.0\) expects NormedLinear\(scale=1\), but got scale=16',
    ),
    'nested cosines scaled twice': (lambda: cls_head(DEFERRED_LDAM, classifier=dict(COSINE, scale=16)), 'scale=1'),
    'RIDE without scale': (lambda: ride_head(30.0, dict(COSINE, scale=1)), r'\(scale=30.0\), but got scale=1'),
    'RIDE of another scale': (lambda: ride_head(16.0, dict(COSINE, scale=30)), r'\(scale=16.0\), but got scale=30'),
    'RIDE of scale 1': (lambda: ride_head(1.0, dict(COSINE, scale=30)), r'\(scale=1.0\), but got scale=30'),
    'proposals trained as class 0': (lambda: detr(EQLV2, as_two_stage=True), 'EQLv2Loss does not support as_two_stage'),
}
UNSCALED = {
    'linear head': lambda: cls_head(BALANCED_SOFTMAX, classifier=COSINE),
    'default loss': lambda: MODELS.build(
        dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=4, classifier=COSINE)
    ),
    'nested loss': lambda: cls_head(dict(DEFERRED_LDAM, loss=BALANCED_SOFTMAX), classifier=COSINE),
    'loss of scale 1': lambda: cls_head(dict(LDAM, scale=1.0), classifier=COSINE),
    'expert head': lambda: expert_head(BALPOE, classifier=COSINE),
    'multi-label head': lambda: multi_label_head(BCE, classifier=COSINE),
    'COMIC': lambda: comic_head(classifier=dict(type='ltmm.CausalCosine', scale=1.0)),
    'OLTR': lambda: cls_head(CE, classifier=dict(type='ltmm.MetaEmbedding', scale=1.0)),
    'box head': lambda: box(CE, cls_predictor_cfg=COSINE),
    'box head of mmdet': lambda: foreign(box(None, 'mmdet.Shared2FCBBoxHead', cls_predictor_cfg=COSINE), SEESAW),
}
FITS = {
    'plain cosines': lambda: cls_head(LDAM, classifier=COSINE),
    'cosines scaled by the layer': lambda: cls_head(dict(LDAM, scale=1.0), classifier=dict(COSINE, scale=30)),
    'scaled cosines under a loss of logits': lambda: cls_head(BALANCED_SOFTMAX, classifier=dict(COSINE, scale=30)),
    'objective of features': lambda: cls_head(
        dict(type='ltmm.BalancedContrastiveLoss', in_channels=4), classifier=COSINE
    ),
    'RIDE': lambda: ride_head(30.0, dict(COSINE, scale=30)),
    'COMIC with other losses': lambda: comic_head(corrector=BCE, balancer=dict(BALANCER, loss=BCE)),
    'COMIC without balancer': lambda: comic_head(loss=BCE, balancer=None),
    'EQL in a two-stage Deformable DETR': lambda: detr(EQL, as_two_stage=True),
}


@pytest.mark.parametrize('build', REFUSED.values(), ids=REFUSED)
def test_loss_that_does_not_fit(build):
    with pytest.raises(TypeError, match='accepts|needs|takes cosines|hold objectives'):
        build()


@pytest.mark.parametrize('build, message', WRONG_SETTINGS.values(), ids=WRONG_SETTINGS)
def test_wrong_settings(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.parametrize('build', UNSCALED.values(), ids=UNSCALED)
def test_cosines_that_nobody_scales(build):
    with pytest.raises(ValueError, match=r'the logits of \w+\(scale=1.*stay within \[-1, 1\].*scale=30'):
        build()


@pytest.mark.parametrize('build', FITS.values(), ids=FITS)
def test_loss_that_fits(build):
    check_losses(build())


@pytest.mark.parametrize('build', [cls_head, multi_label_head, expert_head])
def test_data_of_other_classes(build):
    head = build(BALPOE if build is expert_head else BCE if build is multi_label_head else CE)
    with pytest.raises(ClassDistributionError, match='Head: .* to have 3 entries, but got 4'):
        head.set_class_distribution(ClassDistribution([9, 4, 1, 1]))


def test_losses_of_other_packages_are_not_checked():
    head = LinearClsHead(3, 4)
    head.loss_module = nn.CrossEntropyLoss()
    check_losses(nn.ModuleDict(dict(head=head)))


@pytest.mark.parametrize('processes, scope', [(1, 'mmdet'), (2, 'ltmm')])
def test_state_over_ranks_where_every_rank_calls_the_loss(monkeypatch, processes, scope):
    monkeypatch.setattr('ltmm.models.accepts.get_world_size', lambda: processes)
    check_losses(box(EQLV2, f'{scope}.Shared2FCBBoxHead'))


@pytest.mark.parametrize('loss', [SEESAW, EQL])
def test_several_ranks_of_which_one_may_skip_the_loss(monkeypatch, loss):
    head = box(loss, 'mmdet.Shared2FCBBoxHead')
    monkeypatch.setattr('ltmm.models.accepts.get_world_size', lambda: 2)
    with pytest.raises(TypeError, match='Shared2FCBBoxHead.* skips its loss on ranks without proposals'):
        check_losses(head)


def test_several_ranks_that_count_on_their_own(monkeypatch):
    head = box(dict(type='ltmm.ROGLoss', loss=dict(type='mmdet.SeesawLoss', num_classes=3)))
    monkeypatch.setattr('ltmm.models.accepts.get_world_size', lambda: 2)
    with pytest.raises(TypeError, match='loss_cls.loss is the SeesawLoss of mmdet.* use ltmm.SeesawLoss'):
        check_losses(head)


@pytest.mark.parametrize('name', ['mmdet.BBoxHead', 'mmdet.SCNetBBoxHead', 'ltmm.Shared4Conv1FCBBoxHead'])
def test_width_comes_from_the_loss(name):
    options = {} if name == 'mmdet.BBoxHead' else dict(fc_out_channels=8, in_channels=8)
    if name == 'mmdet.SCNetBBoxHead':
        options['num_shared_fcs'] = 1
    head = box(SIGMOID, name, **options)
    check_losses(head)
    assert head.fc_cls.out_features == 4
