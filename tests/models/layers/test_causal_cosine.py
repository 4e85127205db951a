import pytest
import torch
from toy_ranks import on_ranks

from ltmm.models.layers import CausalCosine

X = torch.randn(5, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def build(mode: str, num_heads: int = 1, **options) -> CausalCosine:
    torch.manual_seed(0)
    return CausalCosine(8, 3, mode=mode, num_heads=num_heads, **options).double()


def naive(layer: CausalCosine, x: torch.Tensor, direction: torch.Tensor | None) -> torch.Tensor:
    """One image, class and part at a time; moved where a direction is given."""
    out = torch.zeros(len(x), 3, dtype=x.dtype)
    size = 8 // layer.num_heads
    for i in range(len(x)):
        for c in range(3):
            for k in range(layer.num_heads):
                part = slice(k * size, (k + 1) * size)
                feature = x[i, part] / x[i, part].norm()
                if direction is not None:
                    unit = direction[part] / direction[part].norm()
                    shift = {'head': -1, 'tail': layer.alpha, 'tde': -layer.alpha}[layer.mode]
                    feature = feature + shift * (feature @ unit) * unit
                weight = layer.weight[c, part] / (layer.weight[c, part].norm() + layer.gamma)
                out[i, c] += layer.scale / layer.num_heads * (feature @ weight)
    return out


@pytest.mark.parametrize('mode', ['head', 'tail', 'tde'])
@pytest.mark.parametrize('num_heads', [1, 2])
@torch.no_grad()
def test_formula(mode, num_heads):
    layer = build(mode, num_heads)
    plain, moved = layer.with_moved(X)
    torch.testing.assert_close(plain, naive(layer, X, None))
    expected = naive(layer, X, X.mean(0))  # the first batch is all there is
    torch.testing.assert_close(moved, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(layer.eval()(X), moved if mode == 'tde' else plain)
    torch.testing.assert_close(layer.logits(X, shift=0.0)[1], plain)


def test_tde_updates_its_mean_in_training_and_subtracts_it_in_prediction():
    layer = build('tde', num_heads=2, alpha=1.5)
    torch.testing.assert_close(layer(X), naive(layer, X, None))
    torch.testing.assert_close(layer.embedding.total, X.mean(0))
    expected = naive(layer.eval(), X[:2], layer.embedding.total)
    torch.testing.assert_close(layer(X[:2]), expected)
    torch.testing.assert_close(layer.embedding.total, X.mean(0))  # not by predictions


def test_tde_without_a_training_step_or_with_weights_of_zero():
    layer = build('tde', num_heads=2, gamma=0.0).eval()
    torch.testing.assert_close(layer(X), naive(layer, X, None))
    layer.train().weight.data[1] = 0
    logits = layer(X)
    logits.sum().backward()
    assert not logits[:, 1].any() and layer.weight.grad.isfinite().all()


def test_momentum_follows_the_learning_rate():
    layer = build('tde', lr_bound=0.02)
    with pytest.raises(RuntimeError, match='RunningDirection depends on the learning rate.*ltmm.ProgressHook'):
        layer(X)
    total = torch.zeros(8, dtype=X.dtype)
    for lr, momentum in [(0.2, 0.9), (0.02, 0.9), (0.005, 0.975), (0.0, 1.0)]:
        layer.embedding.set_learning_rate(lr)
        layer(X)
        total = momentum * total + X.mean(0)
        torch.testing.assert_close(layer.embedding.total, total)


def test_balanced_classifier_has_no_mean():
    layer = build('balanced')
    plain, moved = layer.with_moved(X)
    torch.testing.assert_close(moved, plain)
    assert list(layer.state_dict()) == ['weight']


def test_running_mean_is_updated_by_losses_in_training():
    layer = build('head')
    layer.with_moved(X)
    layer.with_moved(2 * X)
    expected = 0.9 * X.mean(0) + 2 * X.mean(0)
    torch.testing.assert_close(layer.embedding.total, expected)
    layer(X)
    layer.eval().with_moved(X)
    torch.testing.assert_close(layer.embedding.total, expected)


def test_without_a_mean():
    layer = build('tail').eval()
    plain, moved = layer.with_moved(X)
    torch.testing.assert_close(moved, plain)


def test_mean_has_no_gradient():
    layer = build('head')
    x = X.clone().requires_grad_()
    layer.with_moved(x)[1].sum().backward()
    assert not layer.embedding.total.requires_grad and x.grad.isfinite().all()


def test_mixed_precision():
    layer = CausalCosine(8, 3, mode='tail')
    assert CausalCosine(8, 3, mode='tde').eval()(X.bfloat16()).dtype == torch.float32
    with torch.autocast('cpu', dtype=torch.bfloat16):
        plain, moved = layer.with_moved(X.bfloat16())
    assert plain.dtype == moved.dtype == layer.embedding.total.dtype == torch.float32
    assert CausalCosine(8, 3, mode='tail').half().embedding.total.dtype == torch.float32


def test_feature_of_zeros():
    x = torch.zeros(2, 8, dtype=torch.float64, requires_grad=True)
    layer = build('head')
    sum(part.sum() for part in layer.with_moved(x)).backward()
    assert x.grad.isfinite().all() and layer.weight.grad.isfinite().all()


def test_mean_over_ranks(tmp_path):
    def mean(rank: int) -> torch.Tensor:
        layer = build('head')
        for _ in range(2):
            layer.with_moved(X[:2] if rank else X[2:])
        return layer.embedding.total

    layer = build('head')
    for _ in range(2):
        layer.with_moved(X)
    first, second = on_ranks(mean, tmp_path)
    assert torch.equal(first, second)
    torch.testing.assert_close(first, layer.embedding.total)
