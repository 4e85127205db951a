import math

import pytest
import torch

from ltmm.models.losses.semi.simpro_loss import simpro_adjustment, simpro_priors

PRIOR = torch.tensor([0.6, 0.3, 0.1, 0.0])


@pytest.mark.parametrize('tau', [0, 1, 2])
def test_adjustment(tau):
    expected = torch.tensor([math.log(p**tau + 1e-12) for p in PRIOR.tolist()])
    torch.testing.assert_close(simpro_adjustment(PRIOR, tau), expected)
    assert tau == 0 or simpro_adjustment(PRIOR, tau)[3] == pytest.approx(-27.631, abs=1e-3)


def test_adjusted_softmax_is_bayes_rule():
    likelihood = torch.rand(5, 4, dtype=torch.float64)
    expected = likelihood * PRIOR / (likelihood * PRIOR).sum(1, keepdim=True)
    got = (likelihood.log() + simpro_adjustment(PRIOR.double(), 1)).softmax(1)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9)


def test_priors():
    unlabeled, mixture = torch.tensor([0.25] * 4), PRIOR
    pseudo, labels = torch.tensor([1.5, 0, 0.5, 7]), torch.tensor([3.0, 2, 1, 0])
    got = simpro_priors(unlabeled, mixture, pseudo, labels, 0.1)
    for c in range(4):
        assert got[0][c].item() == pytest.approx(0.9 * 0.25 + 0.1 * pseudo[c].item() / (9 + 1))
        assert got[1][c].item() == pytest.approx(0.9 * PRIOR[c].item() + 0.1 * (pseudo + labels)[c].item() / (9 + 6))


def test_priors_converge_to_the_counts():
    unlabeled, mixture = torch.full((2, 4), 0.25, dtype=torch.float64)
    pseudo, labels = torch.tensor([1e6, 3e6, 0, 6e6]).double(), torch.tensor([5e6, 0, 0, 5e6]).double()
    for _ in range(300):
        unlabeled, mixture = simpro_priors(unlabeled, mixture, pseudo, labels, 0.1)
    torch.testing.assert_close(unlabeled, torch.tensor([0.1, 0.3, 0, 0.6]).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(mixture, torch.tensor([0.3, 0.15, 0, 0.55]).double(), atol=1e-6, rtol=0)


def test_no_confident_pseudo_label():
    zero = torch.zeros(4)
    unlabeled, mixture = simpro_priors(torch.tensor([0.4, 0.3, 0.2, 0.1]), PRIOR, zero, zero, 0.1)
    for prior, before in ((unlabeled, torch.tensor([0.4, 0.3, 0.2, 0.1])), (mixture, PRIOR)):
        torch.testing.assert_close(prior / prior.sum(), before)  # the same for a softmax
