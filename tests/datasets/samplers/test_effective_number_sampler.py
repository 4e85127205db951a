import numpy as np
import pytest

COUNTS = [5000, 200, 0, 20, 1]


@pytest.mark.parametrize('beta', [0.9, 0.999, 0.9999])
def test_probability(build, beta):
    weight = [1 / sum(beta**i for i in range(n)) if n else 0 for n in COUNTS]
    naive = np.array(COUNTS) * weight
    sampler = build(COUNTS, type='ltmm.EffectiveNumberSampler', beta=beta)
    np.testing.assert_allclose(sampler.class_probability(), naive / naive.sum(), rtol=1e-9)


def test_beta_near_one_is_class_balanced(build):
    sampler = build([300, 20, 1], type='ltmm.EffectiveNumberSampler', beta=1 - 1e-9)
    np.testing.assert_allclose(sampler.class_probability(), 1 / 3, rtol=1e-5)


def test_beta_zero_has_no_effect(build, logged):
    build(COUNTS, type='ltmm.EffectiveNumberSampler', beta=0)
    assert 'beta=0 ' in logged[0] and 'Use beta near 1 - 1 / 5000' in logged[0]
