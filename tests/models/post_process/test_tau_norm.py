import pytest
import torch

from ltmm.models.heads import LongTailClsHead
from ltmm.models.post_process import TauNorm, tau_normalize


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('tau', [0, 0.7, 1, 1.9])
def test_equals_the_formula(dtype, tau):
    weight = torch.randn(4, 6, dtype=dtype)
    expected = torch.stack([w / sum(x**2 for x in w).sqrt() ** tau for w in weight])
    torch.testing.assert_close(tau_normalize(weight, tau), expected)


def test_tau_one_gives_all_weight_vectors_length_one(head):
    torch.testing.assert_close(tau_normalize(head.fc.weight, 1.0).norm(dim=1), torch.ones(4))


def test_a_class_of_zero_weights_stays_finite():
    weight = torch.zeros(2, 3)
    weight[0] = 1
    assert tau_normalize(weight, 1.3)[1].tolist() == [0, 0, 0]


def test_the_bias_has_no_part(head, features):
    before = TauNorm(0.5)(head.fc(features), features, head)
    head.fc.bias.data += 100
    torch.testing.assert_close(TauNorm(0.5)(head.fc(features), features, head), before)


@pytest.mark.parametrize('bias', [True, False])
def test_folded_it_gives_the_same_logits(features, bias):
    head = LongTailClsHead(4, 6, classifier=dict(type='ltmm.Linear', bias=bias))
    step = TauNorm(0.7)
    step.check(head)
    expected = step(head.fc(features), features, head)
    assert step.write(head)
    torch.testing.assert_close(head.fc(features), expected)


@pytest.mark.parametrize('classifier', ['ltmm.NormedLinear', 'ltmm.NearestMean'])
def test_a_head_without_a_linear_layer_is_refused(classifier):
    head = LongTailClsHead(4, 6, classifier=dict(type=classifier))
    with pytest.raises(TypeError, match='TauNorm needs .* but got LongTailClsHead'):
        TauNorm().check(head)


@pytest.mark.parametrize('tau', [-1, float('nan')])
def test_a_strength_out_of_range_is_refused(tau):
    with pytest.raises(ValueError, match='Expected `tau` to be >= 0, but got'):
        TauNorm(tau)


def test_it_is_multiplicative_logit_adjustment_by_the_lengths(features):
    head = LongTailClsHead(4, 6, classifier=dict(type='ltmm.Linear', bias=False))
    logits, lengths = head.fc(features), head.fc.weight.norm(dim=1)
    torch.testing.assert_close(TauNorm(0.7)(logits, features, head), logits / lengths**0.7)
    assert 'multiplicative' in TauNorm.__doc__


def test_the_refusal_does_not_take_learned_scales_and_experts_for_cosines():
    head = LongTailClsHead(4, 6, classifier=dict(type='ltmm.ScaledLinear'))
    with pytest.raises(TypeError, match=r'for learnable scales \(LWS\) and several experts use ltmm.LogitAdjustment'):
        TauNorm().check(head)
