import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ltmm.models.losses import LossInputs, MomentumContrastLoss
from ltmm.registry import MODELS

LABEL = torch.tensor([0, 2, 1])


def inputs(width: int, **options) -> LossInputs:
    return LossInputs(LABEL, **dict(features=torch.randn(3, width), key_features=torch.randn(3, width)) | options)


def trained(steps: int = 2, **options) -> MomentumContrastLoss:
    loss = MomentumContrastLoss(in_channels=4, feat_dim=5, queue_size=8, **options)
    for _ in range(steps):
        loss(inputs(4 * len(loss.projector.experts)))
    return loss


@pytest.mark.parametrize('keys_follow', [True, False])
@pytest.mark.parametrize('num_experts', [1, 2])
def test_formula(num_experts, keys_follow):
    loss = trained(num_experts=num_experts, keys_follow=keys_follow)
    for layer in loss.projector.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight)
    before, batch = copy.deepcopy(loss), inputs(4 * num_experts)
    terms = loss(batch)
    for e in range(num_experts):
        query = F.normalize(loss.projector.experts[e](batch.features[:, 4 * e : 4 * e + 4]), dim=1)
        keys = loss.key_projector.module if keys_follow else loss.key_projector
        key = F.normalize(keys.experts[e](batch.key_features[:, 4 * e : 4 * e + 4]), dim=1)
        old = before.queue.features[:6, 5 * e : 5 * e + 5]  # six of eight slots are filled
        logits = torch.stack([torch.stack([q @ k, *(q @ other for other in old)]) for q, k in zip(query, key)]) / 0.2
        torch.testing.assert_close(terms[f'loss_contrastive{e}'], F.cross_entropy(logits, torch.zeros(3).long()))
        slots = torch.tensor([6, 7, 0])
        torch.testing.assert_close(loss.queue.features[slots, 5 * e : 5 * e + 5], key.detach())
        assert torch.equal(loss.queue.labels[slots], LABEL)


def test_keys_of_the_projector_follow_or_stay():
    follows, stays = trained(mlp=False), trained(mlp=False, keys_follow=False)
    follows.key_projector.momentum = 0.9
    for loss in (follows, stays):
        before = copy.deepcopy(loss)
        nn.init.ones_(loss.projector.experts[0].weight)
        loss(inputs(4))
        (key,) = (p for name, p in loss.key_projector.named_parameters() if name.endswith('weight'))
        (old,) = (p for name, p in before.key_projector.named_parameters() if name.endswith('weight'))
        assert not key.requires_grad
        torch.testing.assert_close(key, 0.9 * old + 0.1 if loss is follows else old)


def test_only_queries_learn():
    loss = trained()
    features, keys = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4, requires_grad=True)
    sum(loss(inputs(4, features=features, key_features=keys)).values()).backward()
    assert features.grad.any() and keys.grad is None
    assert all(parameter.grad.any() for parameter in loss.projector.parameters())


def test_first_batch_has_nothing_to_tell_apart():
    features = torch.randn(3, 4, requires_grad=True)
    (value,) = trained(steps=0)(inputs(4, features=features)).values()
    value.backward()
    assert value == 0 and not features.grad.any()


def test_resume_is_exact():
    loss, resumed, batch = trained(num_experts=2), trained(0, num_experts=2), inputs(8)
    resumed.load_state_dict(loss.state_dict())
    torch.testing.assert_close(resumed(batch), loss(batch), rtol=0, atol=0)
    torch.testing.assert_close(resumed.state_dict(), loss.state_dict(), rtol=0, atol=0)


def test_evaluation_mode_changes_nothing():
    loss = trained().eval()
    before = copy.deepcopy(loss.state_dict())
    loss(inputs(4))
    torch.testing.assert_close(loss.state_dict(), before, rtol=0, atol=0)


def test_half_precision():
    loss = trained()
    batch = inputs(4)
    expected = copy.deepcopy(loss)(batch)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        terms = loss(LossInputs(LABEL, features=batch.features.bfloat16(), key_features=batch.key_features.bfloat16()))
    (value,) = terms.values()
    assert value.dtype == loss.queue.features.dtype == torch.float32
    torch.testing.assert_close(terms, expected, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(features=torch.zeros(6, 4)), 'expected 1 view of each image, but got 2'),
        (dict(features=torch.zeros(3, 8)), r'expected features \(3, 4\), but got \(3, 8\): check its in_channels'),
        (dict(key_features=torch.zeros(3, 5)), r'expected key_features \(3, 4\)'),
    ],
)
def test_features_of_another_shape_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        trained(0)(inputs(4, **options))


@pytest.mark.parametrize('as_main', [True, False])
@pytest.mark.parametrize('kind', ['MomentumContrastLoss', 'BalancedContrastiveLoss'])
def test_projectors_do_not_start_as_the_classifier_does(kind, as_main):
    cfg = dict(type=f'ltmm.{kind}', in_channels=64)
    head = MODELS.build(
        dict(
            type='ltmm.LongTailClsHead',
            num_classes=3,
            in_channels=64,
            **(dict(loss=cfg) if as_main else dict(aux_losses=[cfg])),
        )
    )
    head.init_weights()
    assert head.fc.weight.std() < 0.015
    layers = [layer for layer in head.modules() if isinstance(layer, nn.Linear) and layer is not head.fc]
    assert len(layers) == 4 and all(layer.weight.std() > 0.05 for layer in layers)
