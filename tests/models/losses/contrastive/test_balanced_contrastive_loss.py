import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope

from ltmm.models.losses import BalancedContrastiveLoss, LossInputs
from ltmm.models.losses.contrastive.balanced_contrastive_loss import balanced_contrastive_loss
from ltmm.registry import MODELS

C, D = 5, 8


def random_case(label, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    features = F.normalize(torch.randn(len(label), D, generator=generator, dtype=dtype), dim=1)
    prototypes = F.normalize(torch.randn(C, D, generator=generator, dtype=dtype), dim=1)
    return features.requires_grad_(), torch.tensor(label), prototypes.requires_grad_()


def naive(features, label, prototypes, temperature):
    """The formula, anchor by anchor in Python's floats."""
    references = [*features.tolist(), *prototypes.tolist()]
    classes = [*label.tolist(), *range(C)]
    losses = []
    for i, anchor in enumerate(features.tolist()):
        similarity = [math.exp(sum(a * r for a, r in zip(anchor, ref)) / temperature) for ref in references]
        others = [k for k in range(len(references)) if k != i]
        denominator = 0.0
        for c in range(C):
            members = [k for k in others if classes[k] == c]
            denominator += sum(similarity[k] for k in members) / len(members)
        positives = [k for k in others if classes[k] == classes[i]]
        losses.append(-sum(math.log(similarity[k] / denominator) for k in positives) / len(positives))
    return losses


@pytest.mark.parametrize('label', [[0, 0, 0, 1, 2, 0], [3], [0, 1, 2, 3, 4]])
def test_equals_the_formula(label):
    case = random_case(label)
    loss = balanced_contrastive_loss(*case, temperature=0.2)
    torch.testing.assert_close(loss, torch.tensor(naive(*case, 0.2), dtype=torch.float64))


def test_gradient():
    features, label, prototypes = random_case([0, 0, 1])
    assert torch.autograd.gradcheck(
        lambda f, p: balanced_contrastive_loss(f, label, p, 0.5), (features, prototypes), atol=1e-6
    )


def objective(**options) -> BalancedContrastiveLoss:
    return BalancedContrastiveLoss(in_channels=4, feat_dim=D, **options)


def inputs(views: int, dtype=torch.float32) -> LossInputs:
    label = torch.tensor([0, 2, 2])
    classifier = torch.nn.Linear(4, C)
    return LossInputs(label, features=torch.randn(views * 3, 4).to(dtype), classifier=classifier)


def test_contrasts_the_chosen_views_only():
    loss, given = objective().eval(), inputs(3)
    before = loss(given)['loss_contrastive']
    given.features[:3] = 0  # the view of the classifier
    torch.testing.assert_close(loss(given)['loss_contrastive'], before)
    given.features[3:6] = 0
    assert not torch.isclose(loss(given)['loss_contrastive'], before)


def test_too_few_views_are_refused():
    with pytest.raises(ValueError, match='at least 3 views of each image, but got 2'):
        objective()(inputs(2))


def test_bfloat16_features_are_computed_in_float32():
    with torch.autocast('cpu', dtype=torch.bfloat16):
        loss = objective()(inputs(3, torch.bfloat16))['loss_contrastive']
    assert loss.dtype == torch.float32 and loss.isfinite()


def test_head_trains_on_both_terms():
    head = dict(
        type='ltmm.LongTailClsHead',
        num_classes=C,
        in_channels=4,
        loss=dict(type='ltmm.BalancedSoftmaxLoss', class_counts=[9, 5, 3, 2, 1]),
        cls_views=1,
        aux_losses=[dict(type='ltmm.BalancedContrastiveLoss', in_channels=4, feat_dim=D, weight=0.5, name='bcl')],
    )
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        head = MODELS.build(head)
    from mmpretrain.structures import DataSample

    feats = torch.randn(9, 4, requires_grad=True)
    samples = [DataSample().set_gt_label(label) for label in (0, 2, 2)]
    losses = head.loss((feats,), samples)
    assert set(losses) == {'loss_cls', 'bcl_loss_contrastive'}
    expected = head.loss_module(head.fc(feats[:3]), torch.tensor([0, 2, 2]))
    torch.testing.assert_close(losses['loss_cls'], expected)
    losses['bcl_loss_contrastive'].backward()
    assert head.fc.weight.grad.any()  # by the prototypes


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(label=torch.zeros(3, C)), 'soft labels'),
        (dict(classifier=torch.nn.Identity()), 'needs ltmm.Linear'),
    ],
)
def test_other_inputs_are_refused(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        objective()(replace(inputs(3), **change))
