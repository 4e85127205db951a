import pytest
from mmengine.registry import DefaultScope
from mmpretrain.models.heads import LinearClsHead
from torch import nn
from toy_lvis import box_head

from ltmm.class_distribution import ClassDistributionError
from ltmm.models.fits import check_losses_fit, head_kind
from ltmm.registry import MODELS


class RoILoss(nn.Module):
    fits = ('roi',)


def model_with(loss: nn.Module) -> nn.Module:
    head = LinearClsHead(num_classes=3, in_channels=4)
    head.loss_module = loss
    return nn.ModuleDict(dict(head=head))


def test_a_loss_in_a_head_it_does_not_fit_is_refused_with_the_list_that_fits():
    with pytest.raises(TypeError, match=r"RoILoss does not fit head \(LinearClsHead.*It fits: mmdet's RoI box heads"):
        check_losses_fit(model_with(RoILoss()))


def built(head: dict) -> nn.Module:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(head)


@pytest.mark.parametrize('processes, scope', [(1, 'mmdet'), (2, 'ltmm')])
def test_sums_over_ranks_fit_where_every_rank_calls_the_loss(monkeypatch, processes, scope):
    monkeypatch.setattr('ltmm.models.fits.get_world_size', lambda: processes)
    check_losses_fit(built(box_head(type=f'{scope}.Shared2FCBBoxHead', loss_cls=dict(type='ltmm.EQLv2Loss'))))


def test_sums_over_ranks_are_refused_where_a_rank_may_leave_the_loss_out(monkeypatch):
    head = built(box_head(type='mmdet.Shared2FCBBoxHead', loss_cls=dict(type='ltmm.SeesawLoss')))
    monkeypatch.setattr('ltmm.models.fits.get_world_size', lambda: 2)
    with pytest.raises(TypeError, match="mmdet's Shared2FCBBoxHead, which leaves its loss out on a process without"):
        check_losses_fit(head)


@pytest.mark.parametrize('name', ['DIIHead', 'SABLHead', 'DoubleConvFCBBoxHead'])
def test_box_heads_that_do_not_ask_the_loss_for_their_classifier_are_refused(name):
    options = dict(num_convs=1, num_fcs=1) if name == 'DoubleConvFCBBoxHead' else {}
    head = built(dict(type=f'mmdet.{name}', num_classes=3, **options))
    head.loss_cls = MODELS.build(dict(type='ltmm.EQLv2Loss'))
    message = rf"EQLv2Loss does not fit bbox_head \({name}, .*is not the loss's affair.*It fits: mmdet's RoI box heads"
    with pytest.raises(TypeError, match=message):
        check_losses_fit(nn.ModuleDict(dict(bbox_head=head)))


@pytest.mark.parametrize('name', ['mmdet.BBoxHead', 'mmdet.SCNetBBoxHead', 'ltmm.Shared4Conv1FCBBoxHead'])
def test_box_heads_that_ask_the_loss_for_their_classifier_fit(name):
    loss = dict(type='ltmm.SigmoidCrossEntropyLoss')
    options = {} if name == 'mmdet.BBoxHead' else dict(fc_out_channels=8, in_channels=8)
    if name == 'mmdet.SCNetBBoxHead':
        options['num_shared_fcs'] = 1
    head = built(dict(type=name, num_classes=3, loss_cls=loss, **options))
    check_losses_fit(head)
    assert head_kind(head) == 'roi' and head.fc_cls.out_features == 4


def test_losses_that_say_nothing_are_not_checked():
    check_losses_fit(model_with(nn.CrossEntropyLoss()))


def test_other_modules_have_no_kind():
    assert head_kind(nn.Linear(1, 1)) is None


def cls_head(loss: dict, classifier: dict) -> nn.Module:
    return MODELS.build(
        dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=4, classifier=classifier, loss=loss)
    )


LDAM = dict(type='ltmm.LDAMLoss')
DEFERRED_LDAM = dict(type='ltmm.DeferredReweighting', loss=LDAM, start_epoch=1, kind='inverse')
COSINE = dict(type='ltmm.NormedLinear')


@pytest.mark.parametrize('loss', [LDAM, DEFERRED_LDAM], ids=['alone', 'inside'])
def test_a_loss_of_cosines_on_a_plain_head_is_refused_at_build(loss):
    message = r"LDAMLoss takes cosines, but no layer of its head \(LongTailClsHead\) gives them.*'ltmm.NormedLinear'"
    with pytest.raises(TypeError, match=message):
        cls_head(loss, dict(type='ltmm.Linear'))


@pytest.mark.parametrize('loss', [LDAM, DEFERRED_LDAM], ids=['alone', 'inside'])
def test_cosines_scaled_twice_are_refused_at_build(loss):
    message = r'scaled twice, by NormedLinear\(scale=16\) and by LDAMLoss\(scale=30.0\)'
    with pytest.raises(ValueError, match=message):
        cls_head(loss, dict(COSINE, scale=16))


def test_cosines_scaled_once_are_right():
    cls_head(LDAM, COSINE)
    cls_head(dict(LDAM, scale=1.0), dict(COSINE, scale=30))
    cls_head(dict(type='ltmm.BalancedSoftmaxLoss'), dict(COSINE, scale=30))


def test_a_loss_inside_another_is_checked_too():
    with pytest.raises(TypeError, match='EQLLoss does not fit its head'):
        cls_head(dict(DEFERRED_LDAM, loss=dict(type='ltmm.EQLLoss', lambda_=0.1)), COSINE)


BCE = dict(type='ltmm.MultiLabelBCELoss')
BALANCER = dict(type='ltmm.HeadTailBalancerLoss')


def comic_head(**losses) -> nn.Module:
    return MODELS.build(dict(type='ltmm.COMICHead', num_classes=3, in_channels=4, **losses))


@pytest.mark.parametrize(
    'losses, message',
    [
        (dict(corrector=LDAM), "LDAMLoss does not fit the `corrector` of its head .COMICHead.* fits: mmpretrain's cl"),
        (dict(corrector=dict(BALANCER, loss=BCE)), 'HeadTailBalancerLoss does not fit the `corrector` of .*`balancer`'),
        (dict(loss=dict(BALANCER, loss=BCE)), 'HeadTailBalancerLoss does not fit its head .COMICHead.* as its `bal'),
        (
            dict(balancer=dict(type='ltmm.ASLLoss')),
            r'ASLLoss does not fit the `balancer` of its head \(COMICHead, where ltmm.HeadTailBalancerLoss fits\)',
        ),
        (dict(balancer=dict(BALANCER, loss=LDAM)), "LDAMLoss does not fit the `balancer` of .*It fits: mmpretrain's"),
    ],
)
def test_the_further_losses_of_comic_are_checked_at_build(losses, message):
    with pytest.raises(TypeError, match=message):
        comic_head(**losses)


def test_what_fits_in_comic_is_built():
    comic_head(corrector=BCE, balancer=dict(BALANCER, loss=BCE))
    comic_head(loss=BCE, balancer=None)
    with pytest.raises(ClassDistributionError, match='has num_classes=3, but its MultiFocalModifierLoss was built'):
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
    with pytest.raises(TypeError, match='RIDELoss takes cosines, but no layer of its head .MultiExpertClsHead'):
        expert_head(dict(type='ltmm.Linear'))
    message = r"RIDELoss\(scale=30.0\) expects .* got NormedLinear\(scale=1.0\). Use .*'ltmm.NormedLinear', scale=30.0"
    with pytest.raises(ValueError, match=message):
        expert_head(COSINE)
    with pytest.raises(ValueError, match='expects the classifier to scale its cosines alike'):
        expert_head(dict(COSINE, scale=30), scale=16.0)
