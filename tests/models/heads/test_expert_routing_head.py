import pytest
import torch
from mmpretrain.structures import DataSample

from ltmm.models.heads import ExpertRoutingHead
from ltmm.models.losses import LossInputs
from ltmm.registry import MODELS

LABEL = torch.tensor([0, 3, 1, 2, 0, 3])


def head(**options) -> ExpertRoutingHead:
    settings = dict(num_classes=4, in_channels=8, num_experts=3, loss=dict(type='ltmm.ExpertRoutingLoss'))
    return MODELS.build(dict(type='ltmm.ExpertRoutingHead', **{**settings, **options}))


@pytest.fixture
def feats():
    return (torch.randn(3, len(LABEL), 8),)


def test_router_sees_the_mean_of_the_experts_so_far(feats):
    model, seen = head(), []
    model.router.register_forward_hook(lambda module, args, output: seen.append((*args, output)))
    scores, logits = model.router_logits(feats), model.expert_logits(feats)
    assert scores.shape == (2, len(LABEL)) and [expert for expert, *_ in seen] == [0, 1]
    for e, features, mean, score in seen:
        assert torch.equal(features, feats[0][e]) and torch.equal(score, scores[e])
        torch.testing.assert_close(mean, logits[: e + 1].mean(0))


def test_loss_reaches_the_router_alone(feats):
    """Of a frozen network; the target, a comparison of predictions, has no gradient."""
    model, samples = head(), [DataSample().set_gt_label(label) for label in LABEL]
    model.fc.requires_grad_(False)
    terms = model.loss(feats, samples)
    inputs = LossInputs(LABEL, expert_logits=model.expert_logits(feats), router_logits=model.router_logits(feats))
    torch.testing.assert_close(terms, model.loss_module(inputs))
    terms['loss_routing'].backward()
    assert all(parameter.grad.any() for parameter in model.router.parameters())


def test_predicts_with_all_experts(feats):
    model = head()
    scores = model.expert_logits(feats).mean(0).softmax(1)
    torch.testing.assert_close(torch.stack([sample.pred_score for sample in model.predict(feats)]), scores)


def test_router_is_drawn_as_pytorch_does():
    """Not as the classifiers of MultiExpertClsHead, whose standard deviation of 0.01 would silence it."""
    model = head()
    model.init_weights()
    assert model.router.fc.weight.std() > 0.05


@pytest.mark.parametrize('topk, width', [(1, 1), (4, 4), (9, 4)])
def test_largest_logits(topk, width, feats):
    model = head(router=dict(topk=topk, hidden_channels=3))
    assert model.router.fc.in_features == width + 3
    assert model.router_logits(feats).isfinite().all()


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(loss=dict(type='ltmm.SADELoss')), 'accepts ExpertRoutingLoss, but got SADELoss'),
        (
            dict(aggregation=dict(type='ltmm.WeightedAggregation', weights=[1.0, 0.0, 0.0])),
            'expected ltmm.MeanAggregation, but got WeightedAggregation',
        ),
    ],
)
def test_other_parts(options, message):
    with pytest.raises(TypeError, match=message):
        head(**options)


@pytest.mark.parametrize(
    'options, name',
    [
        (dict(num_experts=1), 'num_experts'),
        (dict(router=dict(topk=0)), 'topk'),
        (dict(router=dict(hidden_channels=2.5)), 'hidden_channels'),
    ],
)
def test_bad_arguments(options, name):
    with pytest.raises(ValueError, match=f'Expected `{name}` to be int'):
        head(**options)
