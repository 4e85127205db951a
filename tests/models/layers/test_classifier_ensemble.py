import pytest
import torch

from ltmm.models.heads import LongTailClsHead
from ltmm.models.layers import ClassifierEnsemble

X = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))


def test_trains_the_new_and_predicts_the_mean_of_both():
    layer = ClassifierEnsemble(6, 3, new_temperature=0.5, old_temperature=2.0)
    out = layer(X)
    torch.testing.assert_close(out, layer.new(X), rtol=0, atol=0)
    out.square().sum().backward()
    assert layer.new.weight.grad.any() and layer.old.weight.grad is None
    mean = ((layer.new(X) / 0.5).softmax(1) + (layer.old(X) / 2).softmax(1)) / 2
    torch.testing.assert_close(layer.eval()(X).softmax(1), mean)
    torch.testing.assert_close(layer(X).exp(), mean)


def test_large_temperature_leaves_the_prediction_to_the_other():
    layer = ClassifierEnsemble(6, 3, old_temperature=1e9).eval()
    torch.testing.assert_close((2 * layer(X).exp() - 1 / 3), layer.new(X).softmax(1))


def test_another_old_classifier_in_mixed_precision():
    cosine = dict(type='ltmm.NormedLinear', scale=30)
    head = LongTailClsHead(3, 6, classifier=dict(type='ltmm.ClassifierEnsemble', old=cosine)).eval()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        logits = head((1e3 * X,))
    assert logits.dtype == torch.float32 and logits.exp().sum(1).allclose(torch.ones(5))


@pytest.mark.parametrize('name', ['new_temperature', 'old_temperature'])
def test_temperatures(name):
    with pytest.raises(ValueError, match=name):
        ClassifierEnsemble(6, 3, **{name: 0.0})
