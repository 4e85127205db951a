import pytest
import torch
from mmpretrain.structures import DataSample
from toy_losses import prepare

from ltmm.models.layers import NormedLinear
from ltmm.registry import MODELS

CLASSIFIERS = [dict(type='ltmm.Linear'), dict(type='ltmm.NormedLinear', scale=16)]
LOSSES = [dict(type='mmpretrain.CrossEntropyLoss'), dict(type='ltmm.BalancedSoftmaxLoss', class_counts=[9, 4, 1])]


def head(**options):
    return MODELS.build(dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=8, **options))


def samples(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


def test_uses_the_last_stage():
    model, feats = head(), (torch.randn(2, 5), torch.randn(2, 8))
    torch.testing.assert_close(model(feats), model.fc(feats[-1]))


@pytest.mark.parametrize('loss', [*LOSSES, dict(type='ltmm.ClassBalancedLoss', loss_type='softmax', beta=0.9)])
def test_predicts_from_plain_logits(loss):
    model, feats = head(loss=loss).eval(), (torch.randn(2, 8),)
    for sample, logits in zip(model.predict(feats), model(feats)):
        torch.testing.assert_close(sample.pred_score, logits.softmax(0))
        assert sample.pred_label == logits.argmax()


def test_initialization_leaves_a_cosine_layer_alone():
    plain, cosine = head(), head(classifier=CLASSIFIERS[1])
    cosine_weight = cosine.fc.weight.clone()
    for model in (plain, cosine):
        model.init_weights()
    assert isinstance(cosine.fc, NormedLinear) and cosine.fc.scale == 16
    assert torch.equal(cosine.fc.weight, cosine_weight)
    assert not plain.fc.bias.any() and plain.fc.weight.std() < 0.03


def test_training_accuracy():
    assert 'accuracy_top-1' in head(cal_acc=True).loss((torch.randn(2, 8),), samples(0, 1))
    assert set(head().loss((torch.randn(2, 8),), samples(0, 1))) == {'loss'}


LDAM = dict(type='ltmm.LDAMLoss', scale=20.0, class_counts=[9, 4, 1])
DEFERRED_LDAM = dict(type='ltmm.DeferredReweighting', loss=LDAM, start_epoch=1, kind='inverse', class_counts=[9, 4, 1])


@pytest.mark.parametrize('loss', [LDAM, DEFERRED_LDAM], ids=['alone', 'inside'])
def test_cosines_are_scaled_in_evaluation(loss):
    model, feats = head(classifier=dict(type='ltmm.NormedLinear'), loss=loss), (torch.randn(4, 8),)
    cosines, losses = model.fc(feats[0]), prepare(model, [9, 4, 1]).loss(feats, samples(0, 1, 2, 0))
    torch.testing.assert_close(model(feats), cosines)
    torch.testing.assert_close(model.eval()(feats), 20 * cosines)
    torch.testing.assert_close(model.loss(feats, samples(0, 1, 2, 0)), losses)
    for sample, cosine in zip(model.predict(feats), cosines):
        torch.testing.assert_close(sample.pred_score, (20 * cosine).softmax(0))
        assert sample.pred_label == cosine.argmax()


def test_scaled_cosine_layer_is_scaled_once():
    model = head(classifier=CLASSIFIERS[1], loss=dict(LDAM, scale=1.0)).eval()
    feats = (torch.randn(4, 8),)
    torch.testing.assert_close(model(feats), model.fc(feats[0]))


@pytest.mark.parametrize('loss_type, gamma', [('sigmoid', None), ('focal', 0.5)])
def test_sigmoid_scores(loss_type, gamma):
    counts = dict(class_counts=[9, 4, 1])
    balanced = dict(type='ltmm.ClassBalancedLoss', loss_type=loss_type, beta=0.9, gamma=gamma, **counts)
    focal = dict(type='ltmm.SigmoidFocalLoss', gamma=gamma or 0.0)
    deferred = dict(type='ltmm.DeferredReweighting', loss=focal, start_epoch=1, kind='inverse', **counts)
    feats = (torch.randn(4, 8),)
    for loss in (focal, balanced, deferred):
        model = head(loss=loss).eval()
        for sample, logits in zip(model.predict(feats), model(feats)):
            torch.testing.assert_close(sample.pred_score, logits.sigmoid())
            assert sample.pred_label == logits.argmax()


def test_features_of_another_shape():
    with pytest.raises(ValueError, match=r'in_channels=8\), but got \(2, 5\). Set in_channels=5'):
        head()((torch.randn(2, 5),))
    with pytest.raises(ValueError, match=r'got \(2, 8, 4, 4\). A neck is missing'):
        head()((torch.randn(2, 8, 4, 4),))
