import torch

from ltmm.models.layers.meta_embedding import reachability
from ltmm.models.state import TrainFeatures
from ltmm.registry import MODELS


def meta_embedding(dtype: torch.dtype = torch.float64) -> torch.nn.Module:
    torch.manual_seed(0)
    layer = MODELS.build(dict(type='ltmm.MetaEmbedding', in_features=6, out_features=4, scale=8.0)).to(dtype)
    layer.centroids.data.normal_()
    return layer


def test_equals_the_formula():
    layer, features = meta_embedding(), torch.randn(5, 6, dtype=torch.float64)
    parts = layer.state_dict()
    for f, logits in zip(features, layer(features)):
        mixture = (parts['hallucinator.weight'] @ f + parts['hallucinator.bias']).exp()
        recalled = sum(share * centroid for share, centroid in zip(mixture / mixture.sum(), parts['centroids']))
        gate = (parts['selector.weight'] @ f + parts['selector.bias']).tanh()
        nearest = min((f - centroid).square().sum().sqrt() for centroid in parts['centroids'])
        v = 10 / nearest * (f + gate * recalled)
        length = v.square().sum().sqrt()
        expected = [8 * length / (1 + length) * (v @ w) / (length * w.square().sum().sqrt()) for w in parts['weight']]
        torch.testing.assert_close(logits, torch.stack(expected))


def test_gradient_reaches_the_features_by_all_ways_and_never_the_centroids():
    layer, features = meta_embedding(), torch.randn(5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, features)
    layer(features).sum().backward()
    assert layer.centroids.grad is None
    assert all(p.grad.abs().sum() > 0 for name, p in layer.named_parameters() if name != 'centroids')


def test_feature_on_a_centroid_gives_finite_logits_and_gradients():
    layer = meta_embedding()
    layer.centroids.data[1] = 0
    features = torch.stack([layer.centroids.detach()[2], torch.zeros(6, dtype=torch.float64)]).requires_grad_()
    logits = layer(features)
    logits.sum().backward()
    assert logits.isfinite().all() and features.grad.isfinite().all()


def test_distance_is_exact_where_features_lie_close_together():
    """The distance by a matrix product, which only finds the nearest centroid, would be off by more than 1 %."""
    centroids = 100 + torch.randn(40, 64)
    features = centroids[3] + 0.01
    torch.testing.assert_close(reachability(features[None], centroids), torch.tensor([[10 / 0.08]]), rtol=1e-3, atol=0)


def test_mixed_precision_computes_in_float32():
    layer, features = meta_embedding(torch.float32), torch.randn(5, 6).bfloat16()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        logits = layer(features)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, layer(features.float()), rtol=0, atol=0)


def test_centroids_start_as_class_means_before_the_first_epoch_only():
    layer, features = meta_embedding(torch.float32), torch.randn(5, 6)
    label = torch.tensor([0, 3, 0, 3, 1])
    layer.on_train_features(TrainFeatures(features, None, label, torch.arange(5)))
    torch.testing.assert_close(layer.centroids[0], (features[0] + features[2]) / 2)
    torch.testing.assert_close(layer.centroids[1], features[4])
    assert not layer.centroids[2].any()  # without training images
    assert layer.centroids.requires_grad
    assert [layer.needs_train_features(epoch) for epoch in (0, 1)] == [True, False]
