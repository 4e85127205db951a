import math

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from toy_losses import TwoTerms, prepare
from toy_lvis import CLASSES, box_head

C, E = len(CLASSES), 3
EXPERTS = dict(type='ltmm.RoIExpertLoss', num_experts=E, loss=dict(type='ltmm.BalPoELoss', taus=(0.0, 1.0, 2.0)))
MIXED = dict(
    type='ltmm.RoILossPerExpert', losses=[dict(type='CrossEntropyLoss'), dict(type='ltmm.EQLLoss', lambda_=0.2)]
)


@pytest.fixture(autouse=True)
def in_scope_mmdet():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def build(loss_cls=EXPERTS, **options):
    head = MODELS.build(box_head(type='ltmm.MultiExpertBBoxHead', loss_cls=loss_cls, **options))
    head.init_weights()
    return prepare(head, [40, 20, 5, 0], num_images=60)


SEPARATE = dict(num_shared_fcs=1, num_cls_fcs=1, num_reg_fcs=1)


@pytest.mark.parametrize('layers', [{}, SEPARATE, dict(num_shared_fcs=0, num_cls_convs=1, conv_out_channels=4)])
@pytest.mark.parametrize('loss', [EXPERTS, MIXED], ids=['experts', 'mixed'])
def test_every_expert_is_trained(layers, loss):
    head, labels = build(loss, **layers), torch.tensor([0, 1, 2, C, C, C])
    outputs = head(torch.randn(6, 8, 7, 7))
    losses = head.loss(*outputs, torch.zeros(6, 5), labels, torch.ones(6), torch.zeros(6, 4), torch.ones(6, 4))
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters() if p.dim() > 1)


@pytest.mark.parametrize('num', [6, 0])
def test_auxiliary_losses_see_the_embeddings_of_all_experts(num):
    head, x = build(**SEPARATE, aux_losses=[dict(type=TwoTerms)]), torch.randn(num, 8, 7, 7)
    labels, ones = torch.arange(num) % (C + 1), torch.ones(num)
    cls_score, bbox_pred = head(x)
    losses = head.loss(cls_score, bbox_pred, torch.zeros(num, 5), labels, ones, torch.zeros(num, 4), torch.ones(num, 4))
    inputs, shared = head.aux_losses[0].objective.inputs, head.shared_fcs[0](x.flatten(1)).relu()
    expected = torch.cat([fcs[0](shared).relu() for fcs in head.cls_fcs], dim=1)
    torch.testing.assert_close([inputs.features, inputs.cls_score], [expected, cls_score])
    assert inputs.classifier is head.fc_cls
    main = [value for name, value in losses.items() if 'expert' in name or name == 'loss_objectness']
    torch.testing.assert_close(inputs.loss, sum(main))
    (losses['loss_features'] + losses['loss_logits'] + sum(main)).backward()
    assert all(layer.weight.grad.any() == (num > 0) for fcs in head.cls_fcs for layer in fcs)


def test_experts_have_their_own_layers():
    head = build(**SEPARATE)
    assert len(head.shared_fcs) == 1 and [len(fcs) for fcs in head.cls_fcs] == [1] * E
    x = torch.randn(2, 8, 7, 7)
    before = head(x)[0].split(C + 2, dim=1)
    head.cls_fcs[1][0].weight.data.zero_()
    after = head(x)[0].split(C + 2, dim=1)
    assert [torch.equal(a, b) for a, b in zip(before, after)] == [True, False, True]


def test_one_expert_is_mmdets_head():
    head = build(dict(type='ltmm.RoILossPerExpert', losses=[dict(type='CrossEntropyLoss')]))
    plain = MODELS.build(box_head(type='Shared2FCBBoxHead', loss_cls=dict(type='CrossEntropyLoss')))
    plain.load_state_dict({name.replace('fc_cls.experts.0', 'fc_cls'): v for name, v in head.state_dict().items()})
    x = torch.randn(3, 8, 7, 7)
    torch.testing.assert_close(head(x), plain(x))


def test_biases():
    head = build(MIXED)
    assert (head.fc_cls.experts[0].bias == 0).all()
    torch.testing.assert_close(head.fc_cls.experts[1].bias, torch.full((C,), -math.log(999)))
    assert not torch.equal(head.fc_cls.experts[0].weight[:C], head.fc_cls.experts[1].weight)
    init = [dict(type='Normal', std=0.01, override=dict(name='fc_cls'))]
    assert (build(MIXED, init_cfg=init).fc_cls.experts[1].bias == 0).all()


def test_predictions():
    head = build(reg_class_agnostic=True).eval()
    corner = 20.0 * torch.arange(C)
    rois = torch.stack([torch.zeros(C), corner, corner, corner + 10, corner + 10], dim=1)
    expert = torch.cat([8 * torch.eye(C), torch.tensor([[4.0, -4.0]]).expand(C, -1)], dim=1)
    (found,) = head.predict_by_feat(
        (rois,),
        (expert.repeat(1, E),),
        (torch.zeros(C, 4),),
        [dict(img_shape=(100, 100), scale_factor=(1.0, 1.0))],
        ConfigDict(score_thr=0.5, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10),
    )
    assert sorted(found.labels.tolist()) == list(range(C))
