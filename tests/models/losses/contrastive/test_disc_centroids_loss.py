import pytest
import torch
from torch import Tensor, nn
from toy_ranks import on_ranks

from ltmm.models.layers import MetaEmbedding
from ltmm.models.losses import DiscCentroidsLoss, LossInputs

LABEL = torch.tensor([0, 3, 3, 1])  # none of class 2


def given(spread: float = 1.0) -> tuple[Tensor, MetaEmbedding]:
    torch.manual_seed(0)
    layer = MetaEmbedding(6, 4).double()
    layer.centroids.data.normal_().mul_(spread)
    return (spread * torch.randn(4, 6, dtype=torch.float64)).requires_grad_(), layer


def value_and_grads(loss: DiscCentroidsLoss, features: Tensor, layer: MetaEmbedding, scale: float = 1.0) -> tuple:
    layer.zero_grad()
    (value,) = loss(LossInputs(LABEL, features=features, classifier=layer)).values()
    (grad,) = torch.autograd.grad(scale * value, features, retain_graph=True)
    (scale * value).backward()
    return value.item(), grad, layer.centroids.grad


@pytest.mark.parametrize('spread', [0.3, 3.0], ids=['repels', 'far enough'])
def test_equals_the_formula(spread):
    features, layer = given(spread)
    f, m = features.detach(), layer.centroids.detach()
    value, grad, centroid_grad = value_and_grads(
        DiscCentroidsLoss(loss_weight=0.25, margin=10, repel_weight=0.5), features, layer
    )
    others = [(i, c) for i in range(4) for c in range(4) if c != LABEL[i]]
    attract = sum((f[i] - m[LABEL[i]]).square().sum() for i in range(4)) / 8
    repel = 10 - sum((f[i] - m[c]).square().sum() for i, c in others) / 16
    assert bool(repel > 0) == (spread < 1)
    assert value == pytest.approx(0.25 * (attract + 0.5 * max(repel, 0)).item())
    expected, expected_centroid = torch.zeros_like(f), torch.zeros_like(m)
    for i in range(4):
        expected[i] += 0.25 * (f[i] - m[LABEL[i]]) / 4
        count = (LABEL == LABEL[i]).sum()
        expected_centroid[LABEL[i]] += (m[LABEL[i]] - f[i]) / (1 + count) / 4  # without the 0.25
    for i, c in others if repel > 0 else ():
        expected[i] -= 0.25 * 0.5 * 2 * (f[i] - m[c]) / 16
        expected_centroid[c] += 0.25 * 0.5 * 2 * (f[i] - m[c]) / 16
    torch.testing.assert_close(grad, expected)
    torch.testing.assert_close(centroid_grad, expected_centroid)


def test_gradient_scaler_scales_all_gradients():
    features, layer = given(0.3)
    loss = DiscCentroidsLoss()
    _, *grads = value_and_grads(loss, features, layer)
    _, *scaled = value_and_grads(loss, features, layer, scale=1024)
    torch.testing.assert_close(scaled, [1024 * grad for grad in grads])


def test_two_ranks_equal_one(tmp_path):
    loss = DiscCentroidsLoss(repel_weight=0.5)
    features, layer = given(0.3)
    value, grad, centroid_grad = value_and_grads(loss, features, layer)

    def on_rank(rank: int) -> tuple:
        layer.zero_grad()
        half = features.detach()[2 * rank : 2 * rank + 2].requires_grad_()
        (term,) = loss(LossInputs(LABEL[2 * rank : 2 * rank + 2], features=half, classifier=layer)).values()
        term.backward()
        return term.item(), half.grad, layer.centroids.grad

    values, grads, centroid_grads = zip(*on_ranks(on_rank, tmp_path))
    assert sum(values) / 2 == pytest.approx(value)
    torch.testing.assert_close(torch.cat(grads) / 2, grad)
    torch.testing.assert_close(sum(centroid_grads) / 2, centroid_grad)  # as DDP averages


def test_mixed_precision_computes_in_float32():
    features, layer = given()
    features, layer = features.detach().bfloat16(), layer.float()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = DiscCentroidsLoss()(LossInputs(LABEL, features=features, classifier=layer))['loss_centroids']
    expected = DiscCentroidsLoss()(LossInputs(LABEL, features=features.float(), classifier=layer))['loss_centroids']
    assert value.dtype == torch.float32 and value == expected


def test_compiles_in_one_graph():
    features, layer = given(0.3)
    inputs = LossInputs(LABEL, features=features, classifier=layer)
    loss = DiscCentroidsLoss()
    compiled = torch.compile(loss.terms, fullgraph=True, backend='eager')
    torch.testing.assert_close(compiled(inputs), loss.terms(inputs))


@pytest.mark.parametrize(
    ('error', 'changes', 'match'),
    [
        (TypeError, dict(classifier=nn.Linear(6, 4)), 'MetaEmbedding.*Linear'),
        (ValueError, dict(label=torch.eye(4)), 'soft labels'),
        (ValueError, dict(features=None), 'features'),
    ],
)
def test_inputs_that_do_not_fit(error, changes, match):
    features, layer = given()
    with pytest.raises(error, match=match):
        DiscCentroidsLoss()(LossInputs(**dict(label=LABEL, features=features, classifier=layer) | changes))
