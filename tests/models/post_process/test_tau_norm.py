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


def test_tau_one_gives_unit_weight_vectors(head):
    torch.testing.assert_close(tau_normalize(head.fc.weight, 1.0).norm(dim=1), torch.ones(4))


def test_zero_weights_stay_zero():
    weight = torch.zeros(2, 3)
    weight[0] = 1
    assert tau_normalize(weight, 1.3)[1].tolist() == [0, 0, 0]


def test_bias_is_ignored(head, features):
    before = TauNorm(0.5)(head.fc(features), features, head)
    head.fc.bias.data += 100
    torch.testing.assert_close(TauNorm(0.5)(head.fc(features), features, head), before)


@pytest.mark.parametrize(
    'classifier',
    [dict(type='ltmm.NormedLinear', scale=16), dict(type='ltmm.NearestMean'), dict(type='ltmm.ScaledLinear')],
)
def test_head_without_linear_layer_is_refused(classifier):
    head = LongTailClsHead(4, 6, classifier=classifier)
    with pytest.raises(TypeError, match=r'got LongTailClsHead.* \(LWS\) and several experts use ltmm.LogitAdjustment'):
        TauNorm().check(head)


def test_equals_multiplicative_logit_adjustment_by_weight_norms(features):
    head = LongTailClsHead(4, 6, classifier=dict(type='ltmm.Linear', bias=False))
    logits, lengths = head.fc(features), head.fc.weight.norm(dim=1)
    torch.testing.assert_close(TauNorm(0.7)(logits, features, head), logits / lengths**0.7)
