import pytest
from mmengine.registry import DefaultScope
from mmpretrain.models.heads import LinearClsHead, MultiLabelLinearClsHead
from torch import nn
from toy_lvis import box_head

from ltmm.class_distribution import ClassDistributionError
from ltmm.models.accepts import check_losses
from ltmm.registry import MODELS

BCE = dict(type='ltmm.MultiLabelBCELoss')
BALANCER = dict(type='ltmm.HeadTailBalancerLoss')
BALPOE = dict(type='ltmm.BalPoELoss')
COSINE = dict(type='ltmm.NormedLinear')
EQL = dict(type='ltmm.EQLLoss', lambda_=0.1)
LDAM = dict(type='ltmm.LDAMLoss')
DEFERRED_LDAM = dict(type='ltmm.DeferredReweighting', loss=LDAM, start_epoch=1, kind='inverse')


def built(head: dict) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(head)


def cls_head(loss: dict, **options) -> nn.Module:
    return MODELS.build(dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=4, loss=loss, **options))


def comic_head(**losses) -> nn.Module:
    return MODELS.build(dict(type='ltmm.COMICHead', num_classes=3, in_channels=4, **losses))


def foreign(head: nn.Module, loss: dict) -> None:
    head.loss_module = MODELS.build(loss)
    check_losses(nn.ModuleDict(dict(head=head)))


REFUSED = {
    'multi-label loss': lambda: cls_head(BCE),
    'detection loss': lambda: cls_head(EQL),
    'ranking of ROG': lambda: cls_head(dict(type='ltmm.GAPLoss', num_classes=3)),
    'ROG': lambda: cls_head(dict(type='ltmm.ROGLoss', loss=EQL)),
    'expert loss in one network': lambda: cls_head(BALPOE),
    'nested detection loss': lambda: cls_head(dict(DEFERRED_LDAM, loss=EQL), classifier=COSINE),
    'auxiliary loss of logits': lambda: cls_head(dict(type='CrossEntropyLoss'), aux_losses=[LDAM]),
    'cosines of a plain layer': lambda: cls_head(LDAM),
    'nested cosines of a plain layer': lambda: cls_head(DEFERRED_LDAM),
    'cosines in a foreign head': lambda: foreign(LinearClsHead(3, 4), LDAM),
    'detection loss in a foreign head': lambda: foreign(LinearClsHead(3, 4), EQL),
    'single-label loss in a foreign multi-label head': lambda: foreign(MultiLabelLinearClsHead(3, 4), LDAM),
    'single-label corrector': lambda: comic_head(corrector=LDAM),
    'balancer as corrector': lambda: comic_head(corrector=dict(BALANCER, loss=BCE)),
    'balancer as loss': lambda: comic_head(loss=dict(BALANCER, loss=BCE), balancer=None),
    'single-label loss in the balancer': lambda: comic_head(balancer=dict(BALANCER, loss=LDAM)),
}


@pytest.mark.parametrize('build', REFUSED.values(), ids=REFUSED)
def test_loss_that_does_not_fit_is_refused(build):
    with pytest.raises(TypeError, match='accepts|needs|takes cosines'):
        build()


def test_losses_of_other_packages_are_not_checked():
    head = LinearClsHead(3, 4)
    head.loss_module = nn.CrossEntropyLoss()
    check_losses(nn.ModuleDict(dict(head=head)))


@pytest.mark.parametrize('processes, scope', [(1, 'mmdet'), (2, 'ltmm')])
def test_state_over_ranks_fits_where_every_rank_calls_the_loss(monkeypatch, processes, scope):
    monkeypatch.setattr('ltmm.models.accepts.get_world_size', lambda: processes)
    check_losses(built(box_head(type=f'{scope}.Shared2FCBBoxHead', loss_cls=dict(type='ltmm.EQLv2Loss'))))


def test_state_over_ranks_is_refused_where_a_rank_may_skip_the_loss(monkeypatch):
    head = built(box_head(type='mmdet.Shared2FCBBoxHead', loss_cls=dict(type='ltmm.SeesawLoss')))
    monkeypatch.setattr('ltmm.models.accepts.get_world_size', lambda: 2)
    with pytest.raises(TypeError, match='Shared2FCBBoxHead.* skips its loss on ranks without proposals'):
        check_losses(head)


@pytest.mark.parametrize('name', ['DIIHead', 'SABLHead', 'DoubleConvFCBBoxHead'])
def test_box_head_that_does_not_ask_the_loss_for_its_width_is_refused(name):
    options = dict(num_convs=1, num_fcs=1) if name == 'DoubleConvFCBBoxHead' else {}
    head = built(dict(type=f'mmdet.{name}', num_classes=3, **options))
    head.loss_cls = MODELS.build(dict(type='ltmm.EQLv2Loss'))
    with pytest.raises(TypeError, match=rf'bbox_head \({name}\) accepts no loss of ltmm, but got EQLv2Loss'):
        check_losses(nn.ModuleDict(dict(bbox_head=head)))


@pytest.mark.parametrize('name', ['mmdet.BBoxHead', 'mmdet.SCNetBBoxHead', 'ltmm.Shared4Conv1FCBBoxHead'])
def test_box_head_that_asks_the_loss_for_its_width_fits(name):
    loss = dict(type='ltmm.SigmoidCrossEntropyLoss')
    options = {} if name == 'mmdet.BBoxHead' else dict(fc_out_channels=8, in_channels=8)
    if name == 'mmdet.SCNetBBoxHead':
        options['num_shared_fcs'] = 1
    head = built(dict(type=name, num_classes=3, loss_cls=loss, **options))
    check_losses(head)
    assert head.fc_cls.out_features == 4


@pytest.mark.parametrize('loss', [LDAM, DEFERRED_LDAM], ids=['alone', 'inside'])
def test_cosines_scaled_twice_are_refused(loss):
    with pytest.raises(ValueError, match=r'LDAMLoss\(scale=30.0\) expects NormedLinear\(scale=1\), but got scale=16'):
        cls_head(loss, classifier=dict(COSINE, scale=16))


def test_cosines_scaled_once_fit():
    cls_head(LDAM, classifier=COSINE)
    cls_head(dict(LDAM, scale=1.0), classifier=dict(COSINE, scale=30))
    cls_head(dict(type='ltmm.BalancedSoftmaxLoss'), classifier=dict(COSINE, scale=30))


def test_losses_of_comic_fit():
    comic_head(corrector=BCE, balancer=dict(BALANCER, loss=BCE))
    comic_head(loss=BCE, balancer=None)
    with pytest.raises(ClassDistributionError, match='num_classes=3, but its MultiFocalModifierLoss has counts of 4'):
        comic_head(balancer=dict(BALANCER, loss=dict(type='ltmm.MultiFocalModifierLoss', class_counts=[4, 3, 2, 1])))


def expert_head(classifier: dict, scale: float = 30.0) -> nn.Module:
    loss = dict(type='ltmm.RIDELoss', diversity_factor=-0.2, reweight_factor=0.02, reweight_epoch=None, scale=scale)
    return MODELS.build(
        dict(
            type='ltmm.MultiExpertClsHead',
            num_classes=3,
            in_channels=4,
            num_experts=2,
            classifier=classifier,
            loss=loss,
        )
    )


def test_ride_needs_cosines_with_its_scale():
    expert_head(dict(COSINE, scale=30))
    with pytest.raises(TypeError, match='RIDELoss takes cosines'):
        expert_head(dict(type='ltmm.Linear'))
    for layer_scale, scale in ((1, 30.0), (30, 16.0)):
        with pytest.raises(ValueError, match=rf'expects NormedLinear\(scale={scale}\), but got scale={layer_scale}'):
            expert_head(dict(COSINE, scale=layer_scale), scale=scale)
