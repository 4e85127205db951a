import pytest
import torch

from ltmm.models.state import PriorEstimate


def test_moving_average_of_shares():
    estimate = PriorEstimate(3, momentum=0.8)
    estimate.add(torch.tensor([2.0, 0.0, 0.0]))
    estimate.add(torch.tensor([0.0, 1.0, 1.0]))
    estimate.step()
    torch.testing.assert_close(estimate.prior, 0.8 / 3 + 0.2 * torch.tensor([0.5, 0.25, 0.25]).double())
    assert not estimate.counts.any() and estimate.num_steps == 1
    assert estimate.prior.sum().item() == pytest.approx(1)


def test_offset():
    estimate = PriorEstimate(2, momentum=0.9, offset=1.0)
    estimate.update(torch.tensor([3.0, 0.0]))
    torch.testing.assert_close(estimate.prior, torch.tensor([0.45 + 0.1 * 3 / 4, 0.45]).double())


def test_steps_without_counts_change_nothing():
    estimate = PriorEstimate(2, momentum=0.9)
    estimate.update(torch.zeros(2))
    assert estimate.prior.tolist() == [0.5, 0.5] and estimate.num_steps == 0


def test_start_from_a_prior_only_once():
    estimate, prior = PriorEstimate(2, momentum=0.5), torch.tensor([0.9, 0.1])
    estimate.start_from(prior)
    torch.testing.assert_close(estimate.prior, prior.double(), check_dtype=False)
    estimate.update(torch.tensor([1.0, 1.0]))
    moved = estimate.prior.clone()
    estimate.start_from(prior)
    assert torch.equal(estimate.prior, moved)


def test_size_comes_from_a_checkpoint():
    trained, fresh = PriorEstimate(3, momentum=0.9), PriorEstimate(0, momentum=0.9)
    trained.update(torch.tensor([1.0, 2.0, 3.0]))
    fresh.load_state_dict(trained.state_dict())
    torch.testing.assert_close(fresh.state_dict(), trained.state_dict(), rtol=0, atol=0)
    fresh.set_num_classes(3)  # as the class distribution does in each resume
    assert torch.equal(fresh.prior, trained.prior)


def test_gives_its_argument_back_unchanged():
    counts = torch.tensor([1.0, 2.0]).double()
    PriorEstimate(2, momentum=0.9).update(counts)
    assert counts.tolist() == [1, 2]


def test_bad_input():
    with pytest.raises(ValueError, match='`momentum` to be in .0, 1., but got 2'):
        PriorEstimate(2, momentum=2)
