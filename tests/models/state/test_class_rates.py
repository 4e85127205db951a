import numpy as np
import pytest
import torch
from toy_ranks import on_ranks

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state import ClassRates
from ltmm.models.state.class_rates import initial_rate_logits

GRADIENTS = torch.randn(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def learned(gradients: torch.Tensor) -> ClassRates:
    rates = ClassRates(3, lr=0.1)
    for gradient in gradients:
        rates.update(gradient)
    return rates


def test_updates_are_those_of_adam():
    parameter = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    adam = torch.optim.Adam([parameter], lr=0.1)
    for gradient in GRADIENTS:
        parameter.grad = gradient.clone()
        adam.step()
    torch.testing.assert_close(learned(GRADIENTS).logits, parameter.detach())


def test_resume_in_a_model_of_half_precision_is_exact():
    half = torch.nn.Sequential(learned(GRADIENTS[:2])).bfloat16()
    resumed = ClassRates(3, lr=0.1)
    resumed.load_state_dict(half[0].state_dict())
    for gradient in GRADIENTS[2:]:
        resumed.update(gradient)
    torch.testing.assert_close(resumed.state_dict(), learned(GRADIENTS).state_dict(), rtol=0, atol=0)


def test_evaluation_mode_changes_nothing():
    rates = ClassRates(3).eval()
    rates.update(GRADIENTS[0])
    assert not any(value.any() for value in rates.buffers())


def test_ranks_learn_from_their_mean(tmp_path):
    states = on_ranks(lambda rank: learned(GRADIENTS + (2 * rank - 1)).state_dict(), tmp_path)
    for state in states:
        torch.testing.assert_close(state, learned(GRADIENTS).state_dict())


@pytest.mark.parametrize('power', [0, 0.1, 2.0])
def test_initial_rates(power):
    counts = np.array([8, 4, 0, 1])
    rate = 1 / (1 + np.exp(-initial_rate_logits(ClassDistribution(counts), power)))
    naive = np.array([8, 4, 1, 1.0]) ** -power  # the empty class like the rarest other
    np.testing.assert_allclose(rate, naive / (naive[0] + naive[3]))
