import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from toy_losses import train_features

from ltmm import ClassDistribution
from ltmm.models.losses import LossInputs, RCALLoss
from ltmm.models.losses.contrastive import rcal_loss
from ltmm.models.losses.contrastive.rcal_loss import find_inliers
from ltmm.models.state import TrainFeatures
from ltmm.models.state.class_gaussians import class_covariances, head_weights, transfer_from_heads
from ltmm.registry import MODELS
from ltmm.utils.errors import MissingInputError

D = 5
COUNTS = [120, 40, 0, 3, 1]
LABEL = torch.tensor([0, 1, 3, 3])


def build(counts: list[int] = COUNTS, **options) -> RCALLoss:
    loss = MODELS.build(dict(options, type='ltmm.RCALLoss', in_channels=D))
    loss.set_class_distribution(ClassDistribution(counts))
    loss.on_train_features(train_features(counts))
    return loss


def inputs(views: int = 2, dtype: torch.dtype = torch.float32, label: torch.Tensor = LABEL) -> LossInputs:
    torch.manual_seed(1)
    features = torch.randn(views * len(label), D).to(dtype).requires_grad_()
    torch.manual_seed(2)
    return LossInputs(label, features=features, sample_idx=torch.tensor([7, 130, 161, 162]), classifier=nn.Linear(D, 5))


def two_blobs(num: int, num_wrong: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features of one class around 0, of which the last ones are far away, each alone."""
    features = torch.randn(num + num_wrong, 2, generator=torch.Generator().manual_seed(0))
    features[num:] = 30 * torch.arange(1, num_wrong + 1).unsqueeze(1)
    return features, torch.zeros(num + num_wrong, dtype=torch.long)


# ------------------------------------------------------------------ outliers


def test_lonely_features_are_outliers():
    is_inlier = find_inliers(*two_blobs(50, 3), num_neighbors=10, min_size=10)
    assert not is_inlier[50:].any() and is_inlier[:50].float().mean() > 0.8


def test_outliers_are_those_of_their_own_class():
    """The same features, each as a class of its own, or shuffled with others, or with the classes renamed."""
    features, label = two_blobs(50, 3)
    others = torch.randn(40, 2) + 30  # among which an outlier of class 0 would be normal
    alone = torch.cat([find_inliers(features, label, 10, 10), find_inliers(others, torch.zeros(40).long(), 10, 10)])
    both, classes = torch.cat([features, others]), torch.cat([label, torch.ones(40).long()])
    order = torch.randperm(93)
    for renamed in (classes, 1 - classes, 3 * classes):
        assert torch.equal(find_inliers(both[order], renamed[order], 10, 10), alone[order])


def test_small_classes_keep_everything():
    features, label = two_blobs(8, 1)
    assert find_inliers(features, label, num_neighbors=5, min_size=10).all()
    assert not find_inliers(
        features, label, num_neighbors=20, min_size=9
    ).all()  # more neighbors than half of the class


def test_classes_of_one_none_and_equal_features():
    label = torch.tensor([0, 3, 3, *[4] * 20])
    assert find_inliers(torch.ones(23, 2), label, num_neighbors=5, min_size=2).all()
    assert find_inliers(torch.ones(0, 2), label[:0], num_neighbors=5, min_size=2).shape == (0,)


# ------------------------------------------------------------------ before the first epoch


def test_gaussians_are_those_of_the_inliers():
    loss, outputs = build(gamma=0.3, alpha=0.1, num_heads=1), train_features(COUNTS)
    is_inlier = find_inliers(outputs.features, outputs.label, 20, 10)
    assert 0 < (~is_inlier).sum() < 40
    counts, means, covariances = class_covariances(outputs.features[is_inlier], outputs.label[is_inlier], 5)
    weights = head_weights(means, counts, torch.arange(5) == 0, 1)
    means, covariances = transfer_from_heads(means, covariances, weights, 0.3, 0.1)
    rows = [0, 1, 3, 4]
    assert loss.gaussians.classes.tolist() == rows
    torch.testing.assert_close(loss.gaussians.means, means[rows].float())
    factors = loss.gaussians.factors
    torch.testing.assert_close(factors @ factors.mT, covariances[rows].float())
    assert torch.equal(loss.selection.values == 1, is_inlier)
    assert torch.equal(loss.contrastive.values, outputs.features)


def test_rows_are_found_by_sample_idx():
    outputs, loss, shuffled = train_features(COUNTS), build(), build()
    order = torch.randperm(len(outputs.label))
    of = dict(features=outputs.features[order], label=outputs.label[order], sample_idx=outputs.sample_idx[order])
    shuffled.on_train_features(TrainFeatures(logits=None, **of))
    for name in ('contrastive', 'selection'):
        assert torch.equal(getattr(shuffled, name).values, getattr(loss, name).values)
    torch.testing.assert_close(shuffled.gaussians.means, loss.gaussians.means)


def test_features_are_computed_once_and_not_after_a_resume():
    loss = RCALLoss(in_channels=D)
    assert loss.needs_train_features(0) and loss.needs_train_features(3)
    loss.load_state_dict(build().state_dict())
    assert not loss.needs_train_features(3) and loss.needs_train_features(0)  # of a new training
    torch.manual_seed(5)
    resumed = loss(inputs())
    torch.manual_seed(5)
    torch.testing.assert_close(resumed, build()(inputs()), rtol=0, atol=0)


def test_says_how_many_images_are_left(monkeypatch):
    lines = []
    monkeypatch.setattr(rcal_loss, 'print_log', lambda message, **_: lines.append(message))
    loss = build()
    assert lines[0].startswith(f'RCALLoss: {int(loss.selection.values.sum())} of 164 images are no outliers')


# ------------------------------------------------------------------ loss


def test_equals_the_formula():
    loss, given = build(sample_weight=0.5, restriction_weight=0.2, per_class=3), inputs()
    torch.manual_seed(4)
    terms = loss(given)
    torch.manual_seed(4)
    features, label = loss.gaussians.sample(3)
    logits = given.classifier(features)
    sampled = -sum(row.log_softmax(0)[c] for row, c in zip(logits, label)) / 12
    z = train_features(COUNTS).features
    distance = sum((given.features[4 + i] - z[j]).square().sum() for i, j in enumerate(given.sample_idx))
    torch.testing.assert_close(terms['loss_sampled'], 0.5 * sampled)
    torch.testing.assert_close(terms['loss_restriction'], 0.2 * distance / 4)


def test_samples_train_the_classifier_and_the_restriction_the_unmixed_view():
    loss, given = build(), inputs()
    terms = loss(given)
    assert torch.autograd.grad(terms['loss_sampled'], given.features, allow_unused=True, retain_graph=True) == (None,)
    terms['loss_restriction'].backward(retain_graph=True)
    assert given.classifier.weight.grad is None
    assert not given.features.grad[:4].any() and given.features.grad[4:].any(1).all()
    terms['loss_sampled'].backward()
    assert given.classifier.weight.grad.abs().sum(1).gt(0).all()


def test_no_distance_no_restriction():
    loss, given = build(), inputs(views=1)
    features = loss.contrastive.read(given.sample_idx).requires_grad_()
    loss(LossInputs(LABEL, features=features, sample_idx=given.sample_idx, classifier=given.classifier))[
        'loss_restriction'
    ].backward()
    assert not features.grad.any()


def test_all_classes_with_features_are_drawn_alike(monkeypatch):
    seen = []
    monkeypatch.setattr(F, 'cross_entropy', lambda logits, label: seen.append(label) or logits.sum())
    build(per_class=4)(inputs())
    assert seen[0].bincount(minlength=5).tolist() == [4, 4, 0, 4, 4]


def test_mixed_images_alone_are_refused():
    loss, soft = build(), F.one_hot(LABEL, 5).float()
    with pytest.raises(ValueError, match=r"not mixed beside .*augments=dict\(type='ltmm.MixupWithOriginals'\)"):
        loss(inputs(views=1, label=soft))
    assert loss(inputs(views=2, label=soft))['loss_restriction'] > 0
    assert loss(inputs(views=1))['loss_restriction'] > 0


def test_bfloat16_features_are_computed_in_float32():
    with torch.autocast('cpu', dtype=torch.bfloat16):
        terms = build()(inputs(dtype=torch.bfloat16))
    assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())


def test_a_batch_without_images_and_one_of_one_class():
    loss, given = build(), inputs()
    empty = LossInputs(
        LABEL[:0], features=given.features[:0], sample_idx=given.sample_idx[:0], classifier=given.classifier
    )
    assert all(term == 0 for term in loss(empty).values())
    assert all(term.isfinite() for term in loss(inputs(label=torch.ones(4, dtype=torch.long))).values())


def test_a_copy_draws_its_own_samples():
    """A deep copy, as for an average of the weights, holds the Gaussians too."""
    loss = build()
    torch.testing.assert_close(copy.deepcopy(loss).gaussians.state_dict(), loss.gaussians.state_dict())


def test_bad_input():
    loss = RCALLoss(in_channels=D)
    with pytest.raises(MissingInputError, match='RCALLoss needs the features of the training set: .*TrainFeaturesHook'):
        loss(inputs())
    with pytest.raises(RuntimeError, match='RCALLoss needs the class distribution'):
        loss.on_train_features(train_features(COUNTS))
    with pytest.raises(ValueError, match='Expected a class with more than 100'):
        build([90, 20, 5])
    with pytest.raises(ValueError, match=r'in_channels=4\), but got width 5'):
        wrong = RCALLoss(in_channels=4, class_counts=COUNTS)
        wrong.on_train_features(train_features(COUNTS))
    with pytest.raises(ValueError, match='needs `sample_idx`'):
        build()(LossInputs(LABEL, features=torch.ones(4, D), classifier=nn.Linear(D, 5)))


@pytest.mark.parametrize('head_classes', [2, [0, 1]])
def test_other_frequent_classes(head_classes):
    loss = build([90, 20, 5], head_classes=head_classes, gamma=1.0, num_heads=1)
    means = loss.gaussians.means
    assert sum(torch.equal(means[2], mean) for mean in means[:2]) == 1


def test_indices_that_are_not_in_the_training_set_are_not_selected():
    outputs = train_features(COUNTS)
    loss = RCALLoss(in_channels=D, class_counts=COUNTS)
    loss.on_train_features(outputs)  # of other data, which the next ones replace
    loss.on_train_features(TrainFeatures(outputs.features, None, outputs.label, 2 * outputs.sample_idx + 1))
    assert loss.selection.values.unique().tolist() == [-1, 0, 1]
    assert (loss.selection.values[::2] == -1).all() and (loss.selection.values[1::2] >= 0).all()
