import copy

import pytest
import torch
from mmpretrain.structures import DataSample
from torch import nn

from ltmm.registry import MODELS

SAMPLES = [DataSample().set_gt_label(label) for label in (0, 1, 2, 0)]


def classifier(kind='ltmm.PerViewClassifier', **options):
    head = dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=64)
    backbone = dict(type='ltmm.ResNetCIFAR', depth=8)
    return MODELS.build(dict(type=kind, backbone=backbone, head=head, **options))


def images(num_views=2):
    shift = torch.arange(num_views).repeat_interleave(len(SAMPLES)).view(-1, 1, 1, 1)
    return torch.randn(len(shift), 3, 8, 8) + shift  # each view around a mean of its own


@pytest.mark.parametrize('num_views', [1, 2, 3])
def test_losses_and_statistics_of_one_view_after_the_other(num_views):
    model, x = classifier(), images(num_views)
    plain = classifier('ImageClassifier')
    plain.load_state_dict(model.state_dict())
    losses = model.loss(x, SAMPLES)
    each = [plain.loss(view, SAMPLES)['loss'] for view in x.chunk(num_views)]
    torch.testing.assert_close(losses['loss'], sum(each) / num_views)
    torch.testing.assert_close(model.state_dict(), plain.state_dict())
    assert model.backbone.bn1.num_batches_tracked == num_views


def test_gradients_of_all_views():
    model, x = classifier(), images().requires_grad_()
    model.loss(x, SAMPLES)['loss'].backward()
    assert x.grad.flatten(1).any(1).all()


def test_differs_from_one_batch_of_all_views():
    model, x = classifier(), images()
    together = copy.deepcopy(model).head.loss(model.extract_feat(x), SAMPLES)
    assert abs(model.loss(x, SAMPLES)['loss'] - together['loss']) > 1e-4


def test_feature_maps_pass_the_neck():
    model = MODELS.build(
        dict(
            type='ltmm.PerViewClassifier',
            backbone=dict(type='ltmm.ResNetCIFAR', depth=8, pooled=False),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=64),
        )
    )
    assert [stage.shape for stage in model.extract_views(images(), len(SAMPLES))] == [(8, 64)]


def test_views_of_several_experts():
    experts = dict(type='ltmm.MultiExpertResNetCIFAR', depth=8, channels=(4, 4, 8), num_experts=2)
    loss = dict(type='ltmm.NCLPlusLoss', num_hard=2, num_views=2, class_counts=[9, 4, 1])
    head = dict(type='ltmm.MultiExpertClsHead', num_classes=3, in_channels=8, num_experts=2, loss=loss)
    model = MODELS.build(dict(type='ltmm.PerViewClassifier', backbone=experts, head=head))
    x, same = images(), copy.deepcopy(model)
    (features,) = model.extract_views(x, len(SAMPLES))
    expected = torch.stack([same.extract_feat(view)[-1] for view in x.chunk(2)], dim=1)  # (E, V, N, D)
    torch.testing.assert_close(features, expected.flatten(1, 2))
    assert model.loss(x, SAMPLES).keys() >= {'loss_expert0', 'loss_expert1'}


def test_prediction_of_one_view():
    model, x = classifier().eval(), images(1)
    torch.testing.assert_close(model(x), model.head(model.extract_feat(x)))
    assert isinstance(model.head.fc, nn.Linear) and model(x).shape == (4, 3)


def test_rows_that_are_no_whole_views_are_refused():
    with pytest.raises(ValueError, match='views of 4 images, but got 6 rows'):
        classifier().loss(images()[:6], SAMPLES)
