import copy

import pytest
import torch
from mmpretrain.structures import DataSample

from ltmm.registry import MODELS

SAMPLES = [DataSample().set_gt_label(label) for label in (0, 1, 2, 0)]


def classifier(num_experts=2, aux_losses=True, **options):
    contrast = dict(type='ltmm.MomentumContrastLoss', in_channels=8, num_experts=num_experts, feat_dim=4, queue_size=8)
    return MODELS.build(
        dict(
            type='ltmm.MomentumClassifier',
            momentum=0.9,
            backbone=dict(
                type='ltmm.MultiExpertResNetCIFAR',
                depth=8,
                channels=(4, 4, 8),
                num_experts=num_experts,
                expert_stages=(0, 1, 2),
                separate_stem=True,
            ),
            head=dict(
                type='ltmm.MultiExpertClsHead',
                num_classes=3,
                in_channels=8,
                num_experts=num_experts,
                loss=dict(type='ltmm.NCLLoss', num_hard=2, class_counts=[9, 4, 1]),
                aux_losses=[dict(contrast, momentum=None)] if aux_losses else [],
            ),
            **options,
        )
    )


def images(num_views=2):
    return torch.randn(4 * num_views, 3, 8, 8)


def moved(model, by=1.0):
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.add_(by * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize('keys_first', [False, True])
def test_keys_are_of_the_last_view_by_the_averaged_network(keys_first):
    model = classifier(keys_first=keys_first)
    model.loss(images(), SAMPLES)  # copies the network
    old = copy.deepcopy(model.key_network.module)
    x, expected = images(), copy.deepcopy(moved(model))
    model.loss(x, SAMPLES)
    average = copy.deepcopy(old)
    for key, query in zip(average.parameters(), model.network.parameters(), strict=True):
        key.data.mul_(0.9).add_(0.1 * query.data)
    features = model.head.pre_logits((old if keys_first else average)(x[4:]))
    losses = expected.head.loss(expected.extract_feat(x[:4]), SAMPLES, key_features=features)
    queue = [each.head.aux_losses[0].objective.queue.features for each in (expected, model)]
    torch.testing.assert_close(*queue)
    assert {'loss_expert0', 'loss_hard1', 'loss_contrastive0', 'loss_contrastive1'} <= losses.keys()
    for key, expected_key in zip(model.key_network.module.parameters(), average.parameters(), strict=True):
        torch.testing.assert_close(key, expected_key)


def test_losses_of_the_queries():
    model, x = classifier(), images()
    same = copy.deepcopy(model)
    losses = model.loss(x, SAMPLES)
    features = same.head.pre_logits(same.network(x[4:]))  # the first update copies
    torch.testing.assert_close(
        losses, same.head.loss(same.extract_feat(x[:4]), SAMPLES, key_features=features.detach())
    )


def test_only_the_network_learns():
    model = classifier()
    model.loss(images(), SAMPLES)
    sum(model.loss(images(), SAMPLES).values()).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad == ('key_' not in name)


def test_resume_is_exact():
    model, resumed = classifier(), classifier()
    model.loss(images(), SAMPLES)
    moved(model)
    resumed.load_state_dict(model.state_dict())
    x = images()
    for each in (model, resumed):
        each.loss(x, SAMPLES)
    torch.testing.assert_close(resumed.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_prediction_needs_one_view_and_no_keys():
    model = classifier().eval()
    x = images(1)
    torch.testing.assert_close(model(x), model.head(model.extract_feat(x)))


def test_neck_belongs_to_the_network():
    model = MODELS.build(
        dict(
            type='ltmm.MomentumClassifier',
            backbone=dict(type='ltmm.ResNetCIFAR', depth=8, pooled=False),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(
                type='ltmm.LongTailClsHead',
                num_classes=3,
                in_channels=64,
                aux_losses=[dict(type='ltmm.MomentumContrastLoss', in_channels=64, queue_size=8)],
            ),
        )
    )
    assert model.key_features(images(1)).shape == (4, 64)
    assert set(model.loss(images(), SAMPLES)) == {'loss_cls', 'loss_contrastive0'}


def test_one_view_is_refused():
    with pytest.raises(ValueError, match="2 views of each image, but got 1.*'MultiView'"):
        classifier().loss(images(1), SAMPLES)


def test_losses_without_keys_are_refused_at_build():
    with pytest.raises(TypeError, match='put .*ltmm.MomentumContrastLoss.* into `aux_losses`'):
        classifier(aux_losses=False)
