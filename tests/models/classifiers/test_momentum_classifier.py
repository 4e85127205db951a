import copy

import pytest
import torch
from mmpretrain.structures import DataSample
from torch.utils._python_dispatch import TorchDispatchMode

from ltmm.models.state import FeatureQueue
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
                aux_losses=[dict(contrast, keys_follow=False)] if aux_losses else [],
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


@pytest.mark.parametrize('kind', ['MomentumContrastLoss', 'PaCoLoss', 'KCLLoss'])
def test_projectors_of_keys_have_the_momentum_of_the_classifier(kind):
    loss = dict(type=f'ltmm.{kind}', in_channels=64, queue_size=8)
    head = dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=64, aux_losses=[loss])
    backbone = dict(type='ltmm.ResNetCIFAR', depth=8)
    model = MODELS.build(dict(type='ltmm.MomentumClassifier', momentum=0.9, backbone=backbone, head=head))
    assert model.key_network.momentum == model.head.aux_losses[0].objective.key_projector.momentum == 0.9


def test_one_view_is_refused():
    with pytest.raises(ValueError, match="2 views of each image, but got 1.*'MultiView'"):
        classifier().loss(images(1), SAMPLES)


def test_losses_without_keys_are_refused_at_build():
    with pytest.raises(TypeError, match='put .*ltmm.MomentumContrastLoss.* into `aux_losses`'):
        classifier(aux_losses=False)


class RefusesWaiting(TorchDispatchMode):
    """Refuses what waits for a GPU: a tensor read as a number, or by its values."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket not in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('keys_first', [False, True])
def test_a_step_does_not_wait_for_the_gpu(keys_first):
    model, batches = classifier(keys_first=keys_first), [images() for _ in range(4)]
    with RefusesWaiting():
        for x in batches:  # until the queue is full
            sum(model.loss(x, SAMPLES).values()).backward()
    assert model.head.aux_losses[0].objective.queue.filled.all()


@pytest.mark.parametrize('labels', [None, [5, 6]])
def test_a_queue_does_not_wait_for_the_gpu(labels):
    queue, labels = FeatureQueue(3, 2), None if labels is None else torch.tensor(labels)
    with RefusesWaiting():
        for _ in range(3):
            queue.update(torch.ones(2, 2), labels)
    with pytest.raises(AssertionError), RefusesWaiting():
        int(queue.num_filled)


def test_pre_training_needs_no_labels():
    contrast = dict(type='ltmm.MomentumContrastLoss', in_channels=8, queue_size=8)
    backbone = dict(type='ltmm.ResNetCIFAR', depth=8, channels=(4, 4, 8))
    head = dict(type='ltmm.PretrainHead', loss=contrast)
    model, same = (MODELS.build(dict(type='ltmm.MomentumClassifier', backbone=backbone, head=head)) for _ in range(2))
    same.load_state_dict(model.state_dict())
    for _ in range(3):
        x = images()
        losses = model.loss(x, [DataSample() for _ in SAMPLES])
        torch.testing.assert_close(losses, same.loss(x, SAMPLES), rtol=0, atol=0)
    assert losses['loss_contrastive0'] > 0  # keys of earlier batches count
    assert model.head.loss_module.queue.filled.all() and (model.head.loss_module.queue.labels == -1).all()
