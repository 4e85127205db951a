"""Paired comparison of methods over seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ltmm.utils.environment import check_extra

__all__ = ['Comparison', 'compare', 'holm']


@dataclass(frozen=True)
class Comparison:
    """Difference of a method from a baseline over the seeds that both have.

    Args:
        num_pairs: Number of common seeds.
        difference: Mean of the differences.
        low: Lower end of the 95 % confidence interval of the mean (Student's t); NaN for fewer than two seeds.
        high: Upper end.
        p: Two-sided p-value of the paired t-test; NaN for fewer than two seeds, or without any spread.
        p_holm: The same with Holm's correction for the number of methods compared.
    """

    num_pairs: int
    difference: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    p_holm: float = math.nan


def compare(
    values: Mapping[str, Mapping[int, float]], baseline: str, confidence: float = 0.95
) -> dict[str, Comparison]:
    """Compare each method with the baseline by a paired t-test over seeds.

    Args:
        values: Figure of each method and seed, ``{method: {seed: value}}``.
        baseline: Name of the method that the others are compared with.
        confidence: Level of the interval.
    """
    found = {
        name: _paired(
            {seed: own[seed] - values[baseline][seed] for seed in own if seed in values[baseline]}, confidence
        )
        for name, own in values.items()
        if name != baseline and own.keys() & values[baseline].keys()
    }
    tested = [name for name, one in found.items() if not math.isnan(one.p)]
    corrected = dict(zip(tested, holm([found[name].p for name in tested])))
    return {name: replace(one, p_holm=corrected.get(name, math.nan)) for name, one in found.items()}


def _paired(differences: Mapping[int, float], confidence: float) -> Comparison:
    difference = np.array(list(differences.values()))
    mean, count = float(difference.mean()), len(difference)
    if count < 2 or np.ptp(difference) <= 1e-12 * max(1.0, abs(mean)):
        return Comparison(count, mean)
    check_extra('calibration', 'scipy')
    from scipy import stats

    result = stats.ttest_1samp(difference, 0.0)
    low, high = result.confidence_interval(confidence)
    return Comparison(count, mean, float(low), float(high), float(result.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values (M,) with Holm's step-down correction for M comparisons."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind='stable')
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return corrected.tolist()
