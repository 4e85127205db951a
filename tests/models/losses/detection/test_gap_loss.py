import pytest
import torch

from ltmm.models.losses.detection import gap_loss as module
from ltmm.models.losses.detection.gap_loss import GAPLoss, gap_class_weight, gap_loss

C = 6


def naive(score, label, class_weight, delta):
    """The loss and its assigned gradient, one object at a time, by the formula."""
    grad, value = torch.zeros_like(score), 0.0
    is_negative = label[:, None] != torch.arange(score.size(1))  # (N, C)
    classes = [c for c in label.unique().tolist() if c < score.size(1)]
    for c in classes:
        rows = (label == c).nonzero()[:, 0]
        for i in rows.tolist():
            above = lambda x, s=score[i, c]: ((x - s) / (2 * delta) + 0.5).clamp(0, 1)  # noqa: E731
            negatives, peers = above(score) * is_negative, above(score[rows, c]).sum()
            share = 1 / (len(rows) * len(classes))
            error = negatives.sum() / (negatives.sum() + peers)
            value += share * error
            grad[i, c] -= class_weight[c] * share * error
            grad += class_weight[c] * share * negatives / (negatives.sum() + peers)
    return value, grad


def value_and_grad(score, label, *args):
    score = score.clone().requires_grad_()
    loss = gap_loss(score, label, *args)
    loss.backward()
    return loss.detach(), score.grad


def batch(num_rows, num_classes, dtype=torch.float64, seed=0, scale=2.0):
    generator = torch.Generator().manual_seed(seed)
    score = scale * torch.randn(num_rows, num_classes, generator=generator, dtype=dtype)
    label = torch.randint(2 * num_classes, (num_rows,), generator=generator).clamp(max=num_classes)
    return score, label, torch.rand(num_classes, generator=generator, dtype=torch.float64) + 0.1


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('shape', [(1, 1), (5, 3), (40, 12), (60, 2)])
@pytest.mark.parametrize('delta', [0.1, 0.5, 3.0])
def test_formula(dtype, shape, delta):
    for seed in range(3):
        score, label, weight = batch(*shape, dtype, seed)
        expected = naive(score.double(), label, weight, delta)
        value, grad = value_and_grad(score, label, weight, delta)
        tolerance = dict(rtol=1e-9, atol=1e-12) if dtype == torch.float64 else dict(rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(value.double(), torch.as_tensor(expected[0], dtype=torch.float64), **tolerance)
        torch.testing.assert_close(grad.double(), expected[1], **tolerance)


@pytest.mark.parametrize('spread', [0, 0.25])
def test_ties(spread):
    score, label, weight = batch(30, 5)
    score = (score / 0.25).round() * spread  # equal logits, and ramps that start where others end
    expected = naive(score, label, weight, 0.5)
    torch.testing.assert_close(value_and_grad(score, label, weight, 0.5), (expected[0], expected[1]))


def test_chunks_change_nothing(monkeypatch):
    score, label, weight = batch(50, 7)
    whole = value_and_grad(score, label, weight, 0.5)
    monkeypatch.setattr(module, 'CHUNK', 20)
    torch.testing.assert_close(value_and_grad(score, label, weight, 0.5), whole)


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def test_deterministic_algorithms(deterministic, monkeypatch):
    score, label, weight = batch(40, 12)
    expected = naive(score, label, weight, 0.5)
    bincount, cumsum = torch.bincount, torch.Tensor.cumsum

    def unweighted(values, weights=None, minlength=0):
        assert weights is None
        return bincount(values, minlength=minlength)

    def on_cpu(values, dim):
        assert values.device.type == 'cpu' or not values.is_floating_point()
        return cumsum(values, dim)

    monkeypatch.setattr(torch, 'bincount', unweighted)
    monkeypatch.setattr(torch.Tensor, 'cumsum', on_cpu)
    value, grad = value_and_grad(score, label, weight, 0.5)
    torch.testing.assert_close(value, expected[0])
    torch.testing.assert_close(grad, expected[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason='no GPU')
def test_deterministic_algorithms_on_a_gpu(deterministic):
    score, label, weight = batch(40, 12)
    expected = value_and_grad(score, label, weight, 0.5)
    got = value_and_grad(score.cuda(), label.cuda(), weight.cuda(), 0.5)
    torch.testing.assert_close(tuple(x.cpu() for x in got), tuple(expected))


def test_perfect_ranking():
    score = torch.full((4, 3), -5.0)
    label = torch.tensor([0, 1, 2, 3])
    score[range(3), range(3)] = 5.0
    value, grad = value_and_grad(score, label, torch.ones(3), 0.5)
    assert value == 0 and (grad == 0).all()


@pytest.mark.parametrize('num_rows', [0, 4])
def test_without_objects(num_rows):
    score = torch.randn(num_rows, C, requires_grad=True)
    loss = GAPLoss(num_classes=C)(score, torch.full((num_rows,), C))
    loss.backward()
    assert loss == 0 and score.grad.shape == (num_rows, C) and (score.grad == 0).all()


@pytest.mark.parametrize('wrong', [float('nan'), float('inf'), -float('inf')])
@pytest.mark.parametrize('place', [(0, 0), (0, 2), (2, 1)])
@pytest.mark.parametrize('labels', [(0, 1, 3), (3, 3, 3)])
def test_infinite_logits_give_nan(wrong, place, labels):
    score = torch.zeros(3, 3)
    score[place] = wrong
    assert gap_loss(score, torch.tensor(labels), torch.ones(3), 0.5).isnan()


def test_large_logits():
    score, label, weight = batch(40, 6)
    expected = naive(1e4 * score, label, weight, 0.5)
    torch.testing.assert_close(value_and_grad(1e4 * score, label, weight, 0.5), (expected[0], expected[1]))


def test_class_weights():
    weight = gap_class_weight(torch.tensor([1000.0, 10, 0], dtype=torch.float64), 1.0)
    assert weight.mean() == pytest.approx(1)
    torch.testing.assert_close(weight / weight[2], torch.tensor([1e-3, 0.1, 1], dtype=torch.float64))
    assert (gap_class_weight(torch.tensor([1000.0, 0]), 0.0) == 1).all()


def test_counts_in_training_only():
    loss, (score, label, _) = GAPLoss(num_classes=C), batch(30, C)
    score.requires_grad_()
    loss(score, label).backward()
    counts = torch.bincount(label, minlength=C + 1).double()
    assert torch.equal(loss.seen.counts, counts)
    expected = value_and_grad(score.detach(), label, gap_class_weight(counts[:-1], 1.0), 0.5)[1]
    torch.testing.assert_close(score.grad, 0.1 * expected)
    loss.eval()(score, label)
    assert torch.equal(loss.seen.counts, counts)


def test_rows_without_weight_and_further_columns():
    score, label, _ = batch(20, C)
    weight = (torch.arange(20) % 3 > 0).float()
    wide = torch.cat([score, torch.full((20, 2), 50.0)], dim=1).requires_grad_()
    loss = GAPLoss(num_classes=C, gamma=0)(wide, label, weight)
    loss.backward()
    expected = value_and_grad(score[weight > 0], label[weight > 0], torch.ones(C), 0.5)
    torch.testing.assert_close(loss, expected[0])
    torch.testing.assert_close(wide.grad[weight > 0][:, :C], 0.1 * expected[1])
    assert (wide.grad[weight == 0] == 0).all() and (wide.grad[:, C:] == 0).all()


def test_logits_of_fewer_classes():
    with pytest.raises(ValueError, match=r'expected logits of shape \(N, 6\) or wider, but got \(2, 5\)'):
        GAPLoss(num_classes=C)(torch.zeros(2, 5), torch.zeros(2, dtype=torch.long))
