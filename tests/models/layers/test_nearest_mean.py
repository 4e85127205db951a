import pytest
import torch
import torch.nn.functional as F

from ltmm.models.layers import NearestMean, nearest_mean

LABEL = torch.tensor([0, 0, 0, 1, 1, 3])


@pytest.fixture
def features():
    return torch.randn(6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1


def fitted(features, **args):
    layer = NearestMean(5, 4, **args).double()
    layer.fit(features, LABEL)
    return layer


def naive(x, features, transform, similarity):
    """The classifier, sample by sample and class by class."""

    def transformed(f):
        if transform == 'un':
            return f
        f = f - features.mean(0) if transform == 'cl2n' else f
        return f / (f @ f).sqrt()

    logits = torch.full((len(x), 4), float('-inf'), dtype=x.dtype)
    for i, q in enumerate(map(transformed, x)):
        for c in (0, 1, 3):
            m = torch.stack([transformed(f) for f, y in zip(features, LABEL) if y == c]).mean(0)
            logits[i, c] = q @ m / len(q) if similarity == 'dot' else -((q - m) @ (q - m))
    return logits


@pytest.mark.parametrize('transform', ['un', 'l2n', 'cl2n'])
@pytest.mark.parametrize('similarity', ['l2', 'dot'])
def test_formula(features, transform, similarity):
    x = torch.randn(7, 5, dtype=torch.float64)
    got = fitted(features, transform=transform, similarity=similarity)(x)
    torch.testing.assert_close(got, naive(x, features, transform, similarity))


def test_chunks_change_nothing(features, monkeypatch):
    whole = fitted(features).class_means.clone()
    monkeypatch.setattr(nearest_mean, 'CHUNK', 2)
    torch.testing.assert_close(fitted(features).class_means, whole)


def test_class_without_samples_is_never_predicted(features):
    logits = fitted(features, transform='un', similarity='dot')(-features)  # all other logits are low
    assert (logits[:, 2] == float('-inf')).all()
    assert F.softmax(logits, 1).isfinite().all()


def test_checkpoint_carries_the_means(features):
    layer, again = fitted(features), NearestMean(5, 4).double()
    again.load_state_dict(layer.state_dict())
    x = torch.randn(3, 5, dtype=torch.float64)
    assert torch.equal(again(x), layer(x))


def test_mixed_precision(features):
    layer = NearestMean(5, 4)
    layer.fit(features.float(), LABEL)
    x = torch.randn(3, 5)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(layer(x), layer(x.float()))
        assert layer(x.bfloat16()).dtype == torch.float32


def test_without_means():
    with pytest.raises(RuntimeError, match='no class means yet.*tools/post_process.py CONFIG CHECKPOINT --method ncm'):
        NearestMean(5, 4)(torch.randn(3, 5))
