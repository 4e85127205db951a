import pytest
import torch
from mmpretrain.structures import DataSample
from toy_losses import expert_terms

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.models.accepts import check_losses
from ltmm.models.heads import MultiExpertClsHead
from ltmm.models.layers import NormedLinear
from ltmm.registry import MODELS

COUNTS = [9, 4, 1]


def head(**options) -> MultiExpertClsHead:
    settings = dict(num_classes=3, in_channels=8, num_experts=3, loss=dict(type='ltmm.BalPoELoss', class_counts=COUNTS))
    return MODELS.build(dict(type='ltmm.MultiExpertClsHead', **{**settings, **options}))


def samples(*labels):
    return [DataSample().set_gt_label(label) for label in labels]


@pytest.mark.parametrize('classifier', [dict(type='ltmm.Linear'), dict(type='ltmm.NormedLinear', scale=30.0)])
@pytest.mark.parametrize('loss', ['BalPoELoss', 'SADELoss'])
def test_any_classifier_with_any_loss_trains(classifier, loss):
    model = head(classifier=classifier, loss=dict(type=f'ltmm.{loss}', class_counts=COUNTS))
    model.init_weights()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    feats, data_samples = (torch.randn(3, 6, 8),), samples(0, 1, 2, 0, 1, 2)
    history = []
    for _ in range(50):
        value = sum(model.loss(feats, data_samples).values())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        history.append(value.item())
    assert history[-1] < 0.8 * history[0]


def test_every_expert_has_a_classifier_of_its_own():
    model = head(classifier=dict(type='ltmm.NormedLinear', scale=30.0))
    assert [type(layer) for layer in model.fc.experts] == [NormedLinear] * 3
    feats = torch.randn(3, 2, 8)
    logits = model.expert_logits((feats,))
    assert logits.shape == (3, 2, 3)
    for e in range(3):
        torch.testing.assert_close(logits[e], model.fc.experts[e](feats[e]))


def test_predicts_the_aggregate_and_keeps_the_scores_of_each_expert():
    model, feats = head(), (torch.randn(3, 2, 8),)
    predictions = model.predict(feats, samples(0, 2))
    logits = model.expert_logits(feats)
    for n, sample in enumerate(predictions):
        torch.testing.assert_close(sample.pred_score, logits.mean(0).softmax(1)[n])
        assert sample.pred_label == sample.pred_score.argmax()
        torch.testing.assert_close(sample.expert_scores, logits[:, n].softmax(1))


def test_what_hooks_make_of_the_logits_is_predicted():
    """As ltmm.PostProcessHook does."""
    model, feats = head(), (torch.randn(3, 2, 8),)
    model.register_forward_hook(lambda module, args, score: score + torch.tensor([0.0, 0.0, 100.0]))
    assert [int(sample.pred_label) for sample in model.predict(feats)] == [2, 2]


def test_features_before_the_classifiers_lie_side_by_side():
    feats = torch.randn(3, 2, 8)
    torch.testing.assert_close(head().pre_logits((feats,))[1], torch.cat([expert[1] for expert in feats]))


def test_soft_labels_reach_the_loss():
    model, feats = head(), (torch.randn(3, 2, 8),)
    data_samples = [
        DataSample().set_gt_label(0).set_gt_score(torch.tensor(s)) for s in ([0.6, 0.4, 0.0], [0.0, 0.0, 1.0])
    ]
    soft = torch.stack([sample.gt_score for sample in data_samples])
    assert model.loss(feats, data_samples) == expert_terms(model.loss_module, model.expert_logits(feats), soft)


def test_aggregation_by_config():
    model = head(aggregation=dict(type='ltmm.WeightedAggregation', weights=[0.0, 0.0, 1.0]))
    feats = (torch.randn(3, 2, 8),)
    torch.testing.assert_close(model(feats), model.expert_logits(feats)[2])


def test_a_checkpoint_carries_the_prior():
    model, empty = head(class_counts=COUNTS), head()
    empty.load_state_dict(model.state_dict())
    assert empty.get_class_distribution() == ClassDistribution(COUNTS)


@pytest.mark.parametrize(
    'options, error, message',
    [
        (dict(num_classes=0), ValueError, '`num_classes` to be positive, but got 0'),
        (
            dict(loss=dict(type='ltmm.BalPoELoss', taus=(0, 1))),
            ValueError,
            'BalPoELoss is for 2 experts, but the head has num_experts=3',
        ),
        (dict(num_experts=2, loss=dict(type='ltmm.SADELoss')), ValueError, 'SADELoss is for 3 experts.*num_experts=2'),
        (
            dict(loss=dict(type='ltmm.MDCSLoss', powers=(0, 1, 2, 3))),
            ValueError,
            'MDCSLoss is for 4 experts.*num_experts=3',
        ),
        (
            dict(aggregation=dict(type='ltmm.WeightedAggregation', weights=[0.5, 0.5])),
            ValueError,
            'WeightedAggregation is for 2 experts.*num_experts=3',
        ),
        (
            dict(loss=dict(type='mmpretrain.CrossEntropyLoss')),
            TypeError,
            'needs a loss of several experts, such as ltmm.BalPoELoss, but got CrossEntropyLoss',
        ),
        (
            dict(loss=dict(type='ltmm.BalancedSoftmaxLoss')),
            TypeError,
            'accepts ExpertLoss, but got BalancedSoftmaxLoss',
        ),
        (dict(class_counts=[1, 2]), ClassDistributionError, 'expected `class_counts` to have 3 entries, but got 2'),
    ],
)
def test_errors_at_build(options, error, message):
    with pytest.raises(error, match=message):
        head(**options)


def test_an_expert_loss_in_a_head_of_one_model_is_refused():
    with pytest.raises(TypeError, match='SADELoss'):
        MODELS.build(dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=8, loss=dict(type='ltmm.SADELoss')))
    check_losses(head())


@pytest.mark.parametrize('shape', [(2, 4, 8), (4, 8)])
def test_features_of_other_experts_are_refused(shape):
    with pytest.raises(ValueError, match=r'features of shape \(3, N, 8\), but got .*num_experts=3'):
        head().expert_logits((torch.zeros(shape),))


def test_features_of_another_width_are_refused_and_the_right_setting_is_named():
    with pytest.raises(ValueError, match=r'width in_channels=8, but got \(3, 2, 5\). Set in_channels=5'):
        head()((torch.randn(3, 2, 5),))


def test_a_loss_for_another_number_of_classes_is_refused_at_build():
    with pytest.raises(ClassDistributionError, match='num_classes=3, but its BalPoELoss was built for 2 classes'):
        head(loss=dict(type='ltmm.BalPoELoss', class_counts=COUNTS[:2]))
