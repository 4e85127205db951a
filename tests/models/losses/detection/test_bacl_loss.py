import pytest
import torch
from torch import nn

from ltmm.models.losses import LossInputs
from ltmm.models.losses.detection.bacl_loss import BACLLoss
from ltmm.models.losses.detection.fcbl_loss import FCBLLoss
from ltmm.utils.errors import InputError

C, D = 4, 6
LABEL = torch.tensor([0, 0, 1, 3, C, C])


def build(**options):
    loss = BACLLoss(feat_dim=D, **options)
    assert loss.get_cls_channels(C) == C + 1
    return loss


def inputs(label=LABEL, seed=0, **changes):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(label), D, generator=generator).requires_grad_()
    torch.manual_seed(0)
    classifier = nn.Linear(D, C + 1)
    given = dict(features=features, classifier=classifier, weight=torch.ones(len(label)), avg_factor=max(len(label), 1))
    return LossInputs(label, classifier(features), **{**given, **changes})


def test_without_drawn_features_it_is_fcbl():
    loss, fcbl = build(num_drawn_classes=0, loss_weight=2.0), FCBLLoss()
    fcbl.get_cls_channels(C)
    for seed in range(3):
        batch = inputs(seed=seed)
        torch.testing.assert_close(loss(batch)['loss_cls'], 2 * fcbl(batch.cls_score, LABEL))
    torch.testing.assert_close(loss.loss.confusion.scores, fcbl.confusion.scores)


def test_features_follow_mean_and_variance_of_their_class():
    loss = build(num_drawn_classes=C, num_drawn_features=3000)
    generator = torch.Generator().manual_seed(0)
    label = torch.arange(2).repeat_interleave(500)
    features = torch.randn(1000, D, generator=generator) * torch.tensor([0.5, 2.0])[label, None] + label[:, None]
    loss.statistics.update(features, label)
    drawn, drawn_label = loss.draw_features(features)
    assert sorted(drawn_label.unique().tolist()) == [0, 1] and len(drawn) == 6000  # no other class has features
    for c, (mean, std) in enumerate([(0.0, 0.5), (1.0, 2.0)]):
        rows = drawn[drawn_label == c]
        torch.testing.assert_close(rows.mean(), torch.tensor(mean), atol=0.1, rtol=0)
        torch.testing.assert_close(rows.std(), torch.tensor(std), atol=0.1, rtol=0)


def test_confident_classes_are_drawn_less():
    loss = build(num_drawn_classes=1, num_drawn_features=1)
    loss.statistics.update(torch.randn(8, D), torch.arange(4).repeat(2))
    loss.loss.confusion.counts.fill_(1)
    loss.loss.confusion.scores.copy_(torch.diag(torch.tensor([1.0, 0.9, 0.9, 0.2])))
    torch.manual_seed(0)
    drawn = torch.cat([loss.draw_features(torch.zeros(1, D))[1] for _ in range(400)]).bincount(minlength=C) / 400
    torch.testing.assert_close(drawn, torch.tensor([0.0, 0.1, 0.1, 0.8]), atol=0.07, rtol=0)


def test_drawn_features_train_the_classifier_alone():
    loss = build(num_drawn_classes=2)
    loss(inputs())
    batch = inputs(LABEL[:0])
    value = loss(batch)['loss_cls']
    value.backward()
    assert value > 0 and batch.classifier.weight.grad.any() and batch.features.grad.shape == (0, D)
    assert loss.loss.confusion.counts.sum() == 4  # real proposals only


@pytest.mark.parametrize('label', [[], [C, C], [2]])
def test_batches_without_proposals_or_objects(label):
    loss = build()
    for _ in range(2):
        batch = inputs(torch.tensor(label, dtype=torch.long))
        value = loss(batch)['loss_cls']
        value.backward()
    assert value.isfinite() and batch.classifier.weight.grad.isfinite().all()
    assert all(state.isfinite().all() for state in loss.state_dict().values())


def test_scores_and_bfloat16():
    loss, batch = build(), inputs()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(LossInputs(**{**vars(batch), 'cls_score': batch.cls_score.bfloat16()}))['loss_cls']
    assert value.dtype == torch.float32 and value.isfinite()
    prob = batch.cls_score.sigmoid()
    torch.testing.assert_close(loss.get_activation(batch.cls_score)[:, :C], prob[:, :C] * (1 - prob[:, C:]))
    assert loss.prior_prob == 0.001


def test_bad_inputs():
    with pytest.raises(InputError, match=r'feat_dim=6\), but got \(N, 3\)'):
        build()(inputs(features=torch.zeros(6, 3)))
    with pytest.raises(InputError, match='`weight`'):
        build()(inputs(weight=None))
