import pytest
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import nn
from toy_losses import prepare

from ltmm.models.layers import NormedLinear
from ltmm.models.losses import LossInputs
from ltmm.registry import MODELS

COUNTS = [50, 20, 1, 0]
LABEL = torch.tensor([0, 1, 0, 2, 1, 0])
CE, LA = dict(type='mmpretrain.CrossEntropyLoss'), dict(type='ltmm.LogitAdjustmentLoss', tau=1.5)


def build(kind='CCSAMLoss', counts=COUNTS, epoch=2, **settings):
    return prepare(MODELS.build(dict(type=f'ltmm.{kind}', **settings)), counts, epoch)


def batch(classifier=None, label=LABEL, features=None, hard_label=LABEL):
    torch.manual_seed(0)
    classifier = classifier or nn.Linear(5, 4).double()
    if features is None:
        features = torch.randn(6, 5, dtype=torch.float64)
    features = features.clone().requires_grad_()
    return LossInputs(
        label=label,
        hard_label=hard_label,
        features=features,
        cls_score=classifier(features),
        classifier=classifier,
    )


def gradients(value, inputs):
    return torch.autograd.grad(value, [inputs.features, *inputs.classifier.parameters()], retain_graph=True)


def naive_first_stage(loss, inputs):
    """Class by class, with gradients of the size of the weights."""
    layer, features, parameters = inputs.classifier, inputs.features, list(inputs.classifier.parameters())
    each = loss.loss(inputs.cls_score, inputs.label, reduction_override='none')
    num = sum(p.numel() for p in parameters)
    norm = torch.cat([p.detach().flatten() for p in parameters]).norm()
    perturbed = 0
    for c in inputs.hard_label.unique():
        own = inputs.hard_label == c
        moved = []
        for p, grad in zip(parameters, torch.autograd.grad(each[own].mean(), parameters, retain_graph=True)):
            radius = loss.rho * norm.sqrt() / grad.norm().sqrt() / 2**0.5 / max(COUNTS[c] - 1, 1) ** 0.25 / num**0.25
            moved.append(p + radius * grad / grad.norm() * num**0.5)
        logits = F.linear(features[own], *moved)
        perturbed += loss.loss(logits, inputs.hard_label[own], reduction_override='none').sum()
    assert layer.weight.grad is None
    return (1 - loss.flat_ratio) * each.mean() + loss.flat_ratio * perturbed / len(each)


@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('inner', [CE, LA], ids=['ce', 'la'])
@pytest.mark.parametrize('mixed', [False, True])
def test_first_stage_class_by_class(inner, mixed, bias):
    onehot = F.one_hot(LABEL, 4).double()
    label = 0.3 * onehot + 0.7 * onehot.flip(0) if mixed else LABEL
    loss, inputs = build(loss=inner, rho=0.3, flat_ratio=0.4), batch(nn.Linear(5, 4, bias=bias).double(), label)
    value, expected = sum(loss(inputs).values()), naive_first_stage(loss, inputs)
    torch.testing.assert_close(value, expected)
    assert abs(value - build(loss=inner, rho=0.0, flat_ratio=0.4)(inputs)['loss_cls'] / 0.6) > 1e-3
    torch.testing.assert_close(gradients(value, inputs), gradients(expected, inputs))


@pytest.mark.parametrize('classifier', [nn.Linear(5, 4), NormedLinear(5, 4, scale=3)], ids=['linear', 'cosine'])
def test_second_stage_class_by_class(classifier):
    loss, inputs = build('CCSAMFeatureLoss', step_size=0.7, max_ratio=0.9), batch(classifier.double())
    each = F.cross_entropy(inputs.cls_score, LABEL, reduction='none')
    perturbed = 0
    for c in LABEL.unique():
        own = LABEL == c
        weight = torch.log(torch.tensor(max(COUNTS) / COUNTS[c] + 0.01)).double() / 2
        grad = torch.autograd.grad(each[own].mean(), inputs.features, retain_graph=True)[0]
        logits = classifier(inputs.features + 0.7 * weight * grad / grad.norm())
        perturbed += weight * F.cross_entropy(logits[own], LABEL[own], reduction='sum')
    expected = 0.7 * each.mean() + 0.3 * perturbed / 6  # epoch 2 of 10
    value = sum(loss(inputs).values())
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradients(value, inputs), gradients(expected, inputs))


def test_ratio_of_the_second_stage():
    ratios = [build('CCSAMFeatureLoss', max_ratio=0.25, epoch=epoch).ratio for epoch in range(4)]
    assert ratios == [0.1, 0.2, 0.25, 0.25]


@pytest.mark.parametrize('kind', ['CCSAMLoss', 'CCSAMFeatureLoss'])
@pytest.mark.parametrize('counts', [COUNTS, [0, 0, 0, 1]])
def test_gradients_of_zero_move_nothing(kind, counts):
    classifier = nn.Linear(5, 4).double()
    nn.init.zeros_(classifier.weight)  # no gradient of the features
    sure = batch(classifier, features=torch.zeros(6, 5).double())  # none of the weights
    classifier.bias.data = torch.tensor([1e4, 0, 0, 0]).double()
    for inputs in (sure, batch(classifier, label=torch.zeros(6, dtype=torch.long), hard_label=LABEL * 0)):
        value = sum(build(kind, counts)(inputs).values())
        assert value.isfinite()
        assert all(grad.isfinite().all() for grad in gradients(value, inputs))


@pytest.mark.parametrize('kind', ['CCSAMLoss', 'CCSAMFeatureLoss'])
def test_mixed_precision(kind):
    inputs = batch(nn.Linear(5, 4), features=torch.randn(6, 5))
    expected = build(kind)(inputs)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        torch.testing.assert_close(build(kind)(inputs), expected)
    half = LossInputs(**{**vars(inputs), 'features': inputs.features.bfloat16()})
    assert all(term.dtype == torch.float32 for term in build(kind)(half).values())


@pytest.mark.parametrize('kind', ['CCSAMLoss', 'CCSAMFeatureLoss'])
def test_several_views(kind):
    features = torch.randn(12, 5, dtype=torch.float64)
    twice = build(kind)(batch(features=features))
    torch.testing.assert_close(
        build(kind)(batch(features=features, label=LABEL.repeat(2), hard_label=LABEL.repeat(2))), twice
    )


def test_head_gives_the_labels_of_the_unmixed_images():
    head = MODELS.build(
        dict(type='ltmm.LongTailClsHead', num_classes=4, in_channels=5, loss=dict(type='ltmm.CCSAMLoss', rho=1.0))
    )
    prepare(head, COUNTS)
    mixed = 0.3 * F.one_hot(LABEL, 4) + 0.7 * F.one_hot(LABEL.flip(0), 4)  # the partner has the larger share
    samples = [DataSample().set_gt_label(y).set_gt_score(score) for y, score in zip(LABEL, mixed)]
    features = torch.randn(6, 5)
    inputs = LossInputs(
        label=mixed, hard_label=LABEL, features=features, cls_score=head.fc(features), classifier=head.fc
    )
    torch.testing.assert_close(head.loss((features,), samples), head.loss_module(inputs))


def test_refusals():
    with pytest.raises(TypeError, match='CCSAMLoss accepts ClassificationLoss, but got ASLLoss'):
        build(loss=dict(type='ltmm.ASLLoss'))
    with pytest.raises(TypeError, match='CCSAMLoss needs classifier=.*, but got NormedLinear'):
        build()(batch(NormedLinear(5, 4).double()))
    with pytest.raises(ValueError, match='CCSAMFeatureLoss takes class indices'):
        build('CCSAMFeatureLoss')(batch(label=torch.rand(6, 4)))
    with pytest.raises(ValueError, match='CCSAMLoss needs `hard_label`'):
        build()(batch(hard_label=None))
