import pytest
import torch
from mmpretrain.structures import DataSample

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.models.heads import LongTailClsHead
from ltmm.models.layers import NormedLinear
from ltmm.registry import MODELS

CLASSIFIERS = [dict(type='ltmm.Linear'), dict(type='ltmm.NormedLinear', scale=16)]
LOSSES = [dict(type='mmpretrain.CrossEntropyLoss'), dict(type='ltmm.BalancedSoftmaxLoss', class_counts=[9, 4, 1])]


def head(**options):
    return MODELS.build(dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=8, **options))


def samples(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


@pytest.mark.parametrize('classifier', CLASSIFIERS)
@pytest.mark.parametrize('loss', LOSSES)
def test_any_classifier_with_any_loss_trains(classifier, loss):
    model = head(classifier=classifier, loss=loss)
    model.init_weights()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    feats, data_samples = (torch.randn(6, 8),), samples(0, 1, 2, 0, 1, 2)
    history = []
    for _ in range(50):
        value = model.loss(feats, data_samples)['loss']
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        history.append(value.item())
    assert history[-1] < 0.8 * history[0]


@pytest.mark.parametrize('classifier', CLASSIFIERS)
@pytest.mark.parametrize('loss', LOSSES)
def test_trains_under_bfloat16_autocast(classifier, loss):
    model = head(classifier=classifier, loss=loss)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = model.loss((torch.randn(4, 8),), samples(0, 1, 2, 0))['loss']
    value.backward()
    assert value.isfinite() and all(p.grad.isfinite().all() for p in model.parameters())


def test_classifies_the_last_stage():
    model, feats = head(), (torch.randn(2, 5), torch.randn(2, 8))
    torch.testing.assert_close(model(feats), model.fc(feats[-1]))


def test_predicts_with_the_plain_logits():
    model, feats = head(loss=LOSSES[1]), (torch.randn(2, 8),)
    for sample, logits in zip(model.predict(feats), model(feats)):
        torch.testing.assert_close(sample.pred_score, logits.softmax(0))
        assert sample.pred_label == logits.argmax()


def test_initialisation_leaves_a_cosine_layer_its_own():
    plain, cosine = head(), head(classifier=CLASSIFIERS[1])
    cosine_weight = cosine.fc.weight.clone()
    for model in (plain, cosine):
        model.init_weights()
    assert isinstance(cosine.fc, NormedLinear) and cosine.fc.scale == 16
    assert torch.equal(cosine.fc.weight, cosine_weight)
    assert not plain.fc.bias.any() and plain.fc.weight.std() < 0.03


def test_a_checkpoint_carries_the_distribution_even_under_a_loss_that_has_no_use_for_it():
    trained, fresh = head(), head()
    trained.set_class_distribution(ClassDistribution([9, 4, 1]))
    fresh.load_state_dict(trained.state_dict())
    assert fresh.get_class_distribution() == ClassDistribution([9, 4, 1])


def test_logs_the_training_accuracy_where_asked():
    assert 'accuracy_top-1' in head(cal_acc=True).loss((torch.randn(2, 8),), samples(0, 1))
    assert set(head().loss((torch.randn(2, 8),), samples(0, 1))) == {'loss'}


def test_refuses_a_number_of_classes_that_is_not_positive():
    with pytest.raises(ValueError, match='Expected `num_classes` to be positive, but got 0'):
        LongTailClsHead(num_classes=0, in_channels=8)


def test_refuses_data_with_another_number_of_classes():
    with pytest.raises(ClassDistributionError, match='LongTailClsHead: .* to have 3 entries, but got 4'):
        head().set_class_distribution(ClassDistribution([9, 4, 1, 1]))
    with pytest.raises(ClassDistributionError, match='to have 3 entries, but got 4.* Leave the background class out'):
        head(class_counts=[9, 4, 1, 1])


LDAM = dict(type='ltmm.LDAMLoss', scale=20.0, class_counts=[9, 4, 1])
DEFERRED_LDAM = dict(type='ltmm.DeferredReweighting', loss=LDAM, start_epoch=1, kind='inverse', class_counts=[9, 4, 1])


@pytest.mark.parametrize('loss', [LDAM, DEFERRED_LDAM], ids=['alone', 'inside'])
def test_cosines_get_the_scale_of_the_loss_in_evaluation_only(loss):
    model, feats = head(classifier=dict(type='ltmm.NormedLinear'), loss=loss), (torch.randn(4, 8),)
    cosines = model.fc(feats[0])
    torch.testing.assert_close(model(feats), cosines)
    model.eval()
    torch.testing.assert_close(model(feats), 20 * cosines)
    for sample, cosine in zip(model.predict(feats), cosines):
        torch.testing.assert_close(sample.pred_score, (20 * cosine).softmax(0))
        assert sample.pred_label == cosine.argmax()


def test_the_loss_is_the_same_in_evaluation_mode():
    model, feats = head(classifier=dict(type='ltmm.NormedLinear'), loss=LDAM), (torch.randn(4, 8),)
    in_training = model.loss(feats, samples(0, 1, 2, 0))
    torch.testing.assert_close(model.eval().loss(feats, samples(0, 1, 2, 0)), in_training)


def test_a_cosine_layer_with_a_scale_of_its_own_is_scaled_once():
    model = head(classifier=CLASSIFIERS[1], loss=dict(LDAM, scale=1.0)).eval()
    feats = (torch.randn(4, 8),)
    torch.testing.assert_close(model(feats), model.fc(feats[0]))


@pytest.mark.parametrize('loss_type, gamma', [('sigmoid', None), ('focal', 0.5)])
def test_a_loss_of_sigmoids_gives_sigmoid_scores(loss_type, gamma):
    counts = dict(class_counts=[9, 4, 1])
    balanced = dict(type='ltmm.ClassBalancedLoss', loss_type=loss_type, beta=0.9, gamma=gamma, **counts)
    deferred = dict(type='ltmm.DeferredReweighting', loss=balanced, start_epoch=1, kind='inverse', **counts)
    feats = (torch.randn(4, 8),)
    for loss in (dict(type='ltmm.SigmoidFocalLoss', gamma=0.5), balanced, deferred):
        model = head(loss=loss).eval()
        for sample, logits in zip(model.predict(feats), model(feats)):
            torch.testing.assert_close(sample.pred_score, logits.sigmoid())
            assert sample.pred_label == logits.argmax()


def test_a_loss_of_a_softmax_gives_softmax_scores():
    model = head(loss=dict(type='ltmm.ClassBalancedLoss', loss_type='softmax', beta=0.9)).eval()
    assert model.predict((torch.randn(1, 8),))[0].pred_score.sum().item() == pytest.approx(1)


def test_features_of_another_width_are_refused_and_the_right_setting_is_named():
    with pytest.raises(ValueError, match=r'expected features of shape \(N, 8\).* got \(2, 5\). Set in_channels=5'):
        head()((torch.randn(2, 5),))
    with pytest.raises(ValueError, match=r"got \(2, 8, 4, 4\). A neck such as dict\(type='GlobalAveragePooling'\)"):
        head()((torch.randn(2, 8, 4, 4),))


def test_a_loss_for_another_number_of_classes_is_refused_at_build():
    with pytest.raises(
        ClassDistributionError, match='num_classes=3, but its BalancedSoftmaxLoss .* 4 classes.* background'
    ):
        head(loss=dict(type='ltmm.BalancedSoftmaxLoss', class_counts=[9, 4, 1, 1]))
    with pytest.raises(ClassDistributionError, match='has num_classes=3, but its LDAMLoss was built for 2 classes'):
        inner = dict(type='ltmm.LDAMLoss', num_classes=2)
        head(classifier=dict(type='ltmm.NormedLinear'), loss=dict(DEFERRED_LDAM, loss=inner))
