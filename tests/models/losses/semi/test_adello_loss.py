import math

import pytest
import torch

from ltmm.models.losses.semi.adello_loss import adello_adjustment, adello_alpha, adello_target_prior

PRIOR = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)


def test_alpha():
    assert adello_alpha(0, 0.1, 2) == 1 and adello_alpha(1, 0.1, 2) == pytest.approx(0.1)
    assert adello_alpha(0.5, 0.1, 2) == pytest.approx(1 - 0.9 * 0.25)
    values = [adello_alpha(t / 10, 0.1, 2) for t in range(11)]
    assert values == sorted(values, reverse=True)


def test_target_prior():
    torch.testing.assert_close(adello_target_prior(PRIOR, 1), PRIOR)
    torch.testing.assert_close(adello_target_prior(PRIOR, 0), torch.full_like(PRIOR, 1 / 3))
    naive = [p**0.4 for p in PRIOR.tolist()]
    expected = torch.tensor([p / sum(naive) for p in naive], dtype=torch.float64)
    torch.testing.assert_close(adello_target_prior(PRIOR, 0.4), expected)


def test_class_never_seen():
    prior = torch.tensor([0.7, 0.3, 0.0])
    target = adello_target_prior(prior, 0.5)
    assert target[2] == 0 and target.sum() == pytest.approx(1)
    assert adello_adjustment(prior, target).isfinite().all()
    assert adello_adjustment(prior, torch.full((3,), 1 / 3))[2] == pytest.approx(math.log(3e-9), abs=1e-4)


def test_no_adjustment_at_the_start():
    assert adello_adjustment(PRIOR, adello_target_prior(PRIOR, 1)).abs().max() < 1e-12


def test_adjustment_moves_a_classifier_to_the_target_prior():
    likelihood, target = torch.rand(5, 3, dtype=torch.float64), torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    logits = (likelihood * target).log()  # of the Bayes classifier on data of the target distribution
    got = (logits + adello_adjustment(PRIOR, target)).softmax(1)
    expected = likelihood * PRIOR
    torch.testing.assert_close(got, expected / expected.sum(1, keepdim=True), rtol=1e-6, atol=1e-8)
