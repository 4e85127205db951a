import io

import numpy as np
import pytest
import torch
from toy_ranks import on_ranks

from ltmm.models.state import ClassGaussians
from ltmm.models.state.class_gaussians import (
    class_covariances,
    covariance_factors,
    head_weights,
    transfer_from_heads,
)

C, D = 5, 3
COUNTS = [40, 30, 20, 2, 0]
LABEL = torch.arange(C).repeat_interleave(torch.tensor(COUNTS))
IS_HEAD = torch.tensor([True, True, True, False, False])


def features(seed: int = 0) -> torch.Tensor:
    return torch.randn(len(LABEL), D, generator=torch.Generator().manual_seed(seed)) + LABEL.unsqueeze(1)


def statistics() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return class_covariances(features(), LABEL, C)


def fitted() -> ClassGaussians:
    counts, means, covariances = statistics()
    gaussians = ClassGaussians(D)
    gaussians.fit(means, covariances, counts)
    return gaussians


def test_statistics_equal_those_of_numpy():
    order = torch.randperm(len(LABEL))
    counts, means, covariances = class_covariances(features()[order], LABEL[order], C)
    assert counts.tolist() == COUNTS
    for c in range(4):
        of_class = features()[c == LABEL].double().numpy()
        np.testing.assert_allclose(means[c], of_class.mean(0))
        np.testing.assert_allclose(covariances[c], np.cov(of_class.T))
    assert not means[4].any() and not covariances[4].any()


def test_a_class_of_one_has_no_covariance():
    counts, means, covariances = class_covariances(torch.ones(1, D), torch.tensor([1]), 2)
    assert counts.tolist() == [0, 1] and means[1].tolist() == [1] * D and not covariances.any()


@pytest.mark.parametrize('transfer_weight', ['count', 'count_dist'])
@pytest.mark.parametrize('num_heads', [1, 2, 7])
def test_weights_equal_the_formula(transfer_weight, num_heads):
    counts, means, _ = statistics()
    weights = head_weights(means, counts, IS_HEAD, num_heads, transfer_weight)
    distance = [float((means[i] - means[3]).square().sum()) for i in range(3)]
    nearest = sorted(range(3), key=distance.__getitem__)[:num_heads]
    raw = {i: COUNTS[i] * (distance[i] if transfer_weight == 'count_dist' else 1) for i in nearest}
    expected = torch.zeros(C, dtype=torch.float64)
    for i, value in raw.items():
        expected[i] = value / sum(raw.values())
    torch.testing.assert_close(weights[3], expected)
    assert not weights[[0, 1, 2, 4]].any()


def test_heads_at_no_distance_count_by_their_size():
    means, counts = torch.ones(3, D, dtype=torch.float64), torch.tensor([30, 10, 2])
    weights = head_weights(means, counts, torch.tensor([True, True, False]), 2, 'count_dist')
    assert weights[2].tolist() == [0.75, 0.25, 0]


@pytest.mark.parametrize('is_head', [torch.zeros(C, dtype=torch.bool), torch.arange(C) == 4])
def test_without_a_head_that_has_features_all_keep_their_own(is_head):
    counts, means, covariances = statistics()
    weights = head_weights(means, counts, is_head, 2)
    assert not weights.any()
    new = transfer_from_heads(means, covariances, weights, gamma=0.5, alpha=1.0)
    torch.testing.assert_close(new, (means, covariances), rtol=0, atol=0)


@pytest.mark.parametrize('dispersion', ['ones', 'identity'])
def test_transfer_equals_the_formula(dispersion):
    counts, means, covariances = statistics()
    weights = head_weights(means, counts, IS_HEAD, 2)
    new_means, new_covariances = transfer_from_heads(means, covariances, weights, 0.3, 0.2, dispersion)
    w = weights[3].tolist()
    mean = 0.3 * sum(w[i] * means[i] for i in range(3)) + 0.7 * means[3]
    extra = torch.ones(D, D) if dispersion == 'ones' else torch.eye(D)
    covariance = 0.09 * sum(w[i] ** 2 * covariances[i] for i in range(3)) + 0.49 * covariances[3] + 0.2 * extra
    torch.testing.assert_close(new_means[3], mean)
    torch.testing.assert_close(new_covariances[3], covariance)
    torch.testing.assert_close(new_means[IS_HEAD], means[IS_HEAD], rtol=0, atol=0)
    torch.testing.assert_close(new_covariances[IS_HEAD], covariances[IS_HEAD], rtol=0, atol=0)
    assert not new_means[4].any() and not new_covariances[4].any()


def test_gamma_of_zero_leaves_a_class_alone_and_one_leaves_nothing_of_it():
    counts, means, covariances = statistics()
    weights = head_weights(means, counts, IS_HEAD, 1)
    torch.testing.assert_close(transfer_from_heads(means, covariances, weights, 0.0), (means, covariances))
    new_means, new_covariances = transfer_from_heads(means, covariances, weights, 1.0)
    torch.testing.assert_close(new_means[3], means[2])  # the nearest
    torch.testing.assert_close(new_covariances[3], covariances[2])


def test_permuted_classes_give_permuted_gaussians():
    counts, means, covariances = statistics()
    order = torch.tensor([3, 0, 4, 2, 1])
    weights = head_weights(means, counts, IS_HEAD, 2, 'count_dist')
    new = transfer_from_heads(means, covariances, weights, 0.4, 0.1)
    permuted_weights = head_weights(means[order], counts[order], IS_HEAD[order], 2, 'count_dist')
    torch.testing.assert_close(permuted_weights, weights[order][:, order])
    permuted = transfer_from_heads(means[order], covariances[order], permuted_weights, 0.4, 0.1)
    torch.testing.assert_close(permuted, tuple(value[order] for value in new))


def test_factors_of_singular_covariances():
    _, _, covariances = statistics()
    assert torch.linalg.matrix_rank(covariances[3]) == 1  # of two features
    rounded = covariances - 1e-9 * torch.eye(D)  # no longer positive semi-definite
    for given in (covariances, rounded, torch.ones(1, D, D, dtype=torch.float64)):
        factors = covariance_factors(given)
        assert factors.isfinite().all()
        torch.testing.assert_close(factors @ factors.mT, given, atol=1e-8, rtol=0)


def test_as_many_samples_of_each_class_that_has_features():
    samples, label = fitted().sample(7)
    assert samples.shape == (28, D) and label.bincount(minlength=C).tolist() == [7, 7, 7, 7, 0]


def test_samples_have_the_means_and_covariances():
    _, means, covariances = statistics()
    torch.manual_seed(0)
    got_counts, got_means, got_covariances = class_covariances(*fitted().sample(40_000), C)
    assert got_counts[0] == 40_000
    torch.testing.assert_close(got_means, means, atol=0.03, rtol=0)
    torch.testing.assert_close(got_covariances, covariances, atol=0.05, rtol=0.03)


def test_samples_of_a_class_without_spread_are_its_mean():
    gaussians = ClassGaussians(D)
    means = torch.randn(2, D)
    gaussians.fit(means, torch.zeros(2, D, D), torch.tensor([1, 1]))
    samples, label = gaussians.sample(3)
    torch.testing.assert_close(samples, means[label])


def test_state_dict_brings_the_sizes():
    file = io.BytesIO()
    torch.save(fitted().state_dict(), file)
    file.seek(0)
    loaded = ClassGaussians(D)
    loaded.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(loaded.state_dict(), fitted().state_dict(), rtol=0, atol=0)
    seeds = [torch.manual_seed(3) and gaussians.sample(2) for gaussians in (loaded, fitted())]
    torch.testing.assert_close(*seeds, rtol=0, atol=0)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_a_model_of_half_precision_keeps_the_state_exact(dtype):
    gaussians = ClassGaussians(D)
    torch.nn.Sequential(gaussians).to(dtype)
    counts, means, covariances = statistics()
    gaussians.fit(means, covariances, counts)
    gaussians.to(dtype)
    torch.testing.assert_close(gaussians.state_dict(), fitted().state_dict(), rtol=0, atol=0)
    assert gaussians.means.dtype == torch.float32


def fit_on_rank(rank: int) -> dict:
    """Both ranks get slightly different numbers, as of other machines; those of the main process count."""
    counts, means, covariances = statistics()
    gaussians = ClassGaussians(D)
    gaussians.fit(means + rank, covariances, counts)
    return gaussians.state_dict()


def test_two_ranks_hold_the_same(tmp_path):
    for state in on_ranks(fit_on_rank, tmp_path):
        torch.testing.assert_close(state, fitted().state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize(
    ('function', 'arguments', 'name'),
    [
        (head_weights, dict(num_heads=0), 'num_heads'),
        (head_weights, dict(num_heads=1, transfer_weight='distance'), 'transfer_weight'),
        (transfer_from_heads, dict(gamma=1.5), 'gamma'),
        (transfer_from_heads, dict(gamma=0.5, alpha=-1), 'alpha'),
        (transfer_from_heads, dict(gamma=0.5, dispersion='diagonal'), 'dispersion'),
    ],
)
def test_bad_arguments(function, arguments, name):
    counts, means, covariances = statistics()
    given = (means, counts, IS_HEAD) if function is head_weights else (means, covariances, means.new_zeros(C, C))
    with pytest.raises(ValueError, match=f'`{name}`'):
        function(*given, **arguments)
