import pytest
import torch
from mmpretrain.structures import DataSample
from toy_losses import expert_terms

from ltmm.models.heads import MultiExpertClsHead
from ltmm.models.layers import NormedLinear
from ltmm.registry import MODELS

COUNTS = [9, 4, 1]


def head(**options) -> MultiExpertClsHead:
    settings = dict(num_classes=3, in_channels=8, num_experts=3, loss=dict(type='ltmm.BalPoELoss', class_counts=COUNTS))
    return MODELS.build(dict(type='ltmm.MultiExpertClsHead', **{**settings, **options}))


def samples(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


def test_classifier_per_expert():
    model = head(classifier=dict(type='ltmm.NormedLinear', scale=30.0))
    assert [type(layer) for layer in model.fc.experts] == [NormedLinear] * 3
    feats = torch.randn(3, 2, 8)
    logits = model.expert_logits((feats,))
    assert logits.shape == (3, 2, 3)
    for e in range(3):
        torch.testing.assert_close(logits[e], model.fc.experts[e](feats[e]))


def test_predictions():
    model, feats = head(), (torch.randn(3, 2, 8),)
    predictions = model.predict(feats, samples(0, 2))
    logits = model.expert_logits(feats)
    for n, sample in enumerate(predictions):
        torch.testing.assert_close(sample.pred_score, logits.mean(0).softmax(1)[n])
        assert sample.pred_label == sample.pred_score.argmax()
        torch.testing.assert_close(sample.expert_scores, logits[:, n].softmax(1))


def test_uncertainty_of_evidential_aggregation():
    feats = (torch.randn(3, 2, 8),)
    model = head(aggregation=dict(type='ltmm.EvidentialAggregation'))
    expected = model.aggregation.uncertainty(model.expert_logits(feats))
    for n, sample in enumerate(model.predict(feats)):
        assert sample.uncertainty == expected[n]
    assert all('uncertainty' not in sample for sample in head().predict(feats))


def test_predicts_the_output_of_forward_hooks():
    """As ltmm.PostProcessHook does."""
    model, feats = head(), (torch.randn(3, 2, 8),)
    model.register_forward_hook(lambda module, args, score: score + torch.tensor([0.0, 0.0, 100.0]))
    assert [int(sample.pred_label) for sample in model.predict(feats)] == [2, 2]


def test_soft_labels():
    model, feats = head(), (torch.randn(3, 2, 8),)
    data_samples = [
        DataSample().set_gt_label(0).set_gt_score(torch.tensor(s)) for s in ([0.6, 0.4, 0.0], [0.0, 0.0, 1.0])
    ]
    soft = torch.stack([sample.gt_score for sample in data_samples])
    assert model.loss(feats, data_samples) == expert_terms(model.loss_module, model.expert_logits(feats), soft)


def test_aggregation():
    model = head(aggregation=dict(type='ltmm.WeightedAggregation', weights=[0.0, 0.0, 1.0]))
    feats = (torch.randn(3, 2, 8),)
    torch.testing.assert_close(model(feats), model.expert_logits(feats)[2])


def test_scores_follow_the_loss():
    ldam = dict(type='ltmm.LDAMLoss', scale=20.0, class_counts=COUNTS)
    model = head(loss=dict(type='ltmm.PerExpertLoss', loss=ldam), classifier=dict(type='ltmm.NormedLinear'))
    feats = (torch.randn(3, 2, 8),)
    cosines = model.expert_logits(feats)
    assert cosines.abs().max() <= 1
    terms = model.loss(feats, samples(0, 2))
    assert terms == expert_terms(model.loss_module, cosines, torch.tensor([0, 2]))
    assert model.eval().loss(feats, samples(0, 2)) == terms
    (first, _) = model.predict(feats)
    torch.testing.assert_close(first.expert_scores, (20 * cosines[:, 0]).softmax(1))
    torch.testing.assert_close(first.pred_score, (20 * cosines[:, 0].mean(0)).softmax(0))


def test_sigmoid_scores():
    model, feats = (
        head(loss=dict(type='ltmm.PerExpertLoss', loss=dict(type='ltmm.SoftmaxBCELoss'))),
        (torch.randn(3, 2, 8),),
    )
    sigmoid = head(loss=dict(type='ltmm.PerExpertLoss', loss=dict(type='ltmm.SigmoidFocalLoss', gamma=0.0)))
    assert not model.use_sigmoid and sigmoid.use_sigmoid
    logits = sigmoid.expert_logits(feats)
    (first, _) = sigmoid.predict(feats)
    torch.testing.assert_close(first.expert_scores, logits[:, 0].sigmoid())
    torch.testing.assert_close(first.pred_score, logits[:, 0].mean(0).sigmoid())


def test_loss_of_one_classifier():
    with pytest.raises(TypeError, match=r"got LDAMLoss: loss=dict\(type='ltmm.PerExpertLoss', loss=...\)"):
        head(loss=dict(type='ltmm.LDAMLoss'), classifier=dict(type='ltmm.NormedLinear'))


@pytest.mark.parametrize('shape', [(2, 4, 8), (4, 8), (3, 2, 5)])
def test_features_of_another_shape(shape):
    with pytest.raises(ValueError, match=r'features \(3, N, 8\) of num_experts and in_channels, but got'):
        head().expert_logits((torch.zeros(shape),))
