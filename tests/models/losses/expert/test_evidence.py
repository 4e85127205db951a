import pytest
import torch

from ltmm.models.losses.expert import evidential_weights
from ltmm.models.losses.expert.evidence import log_evidential_weights


def test_formula_of_evidential_weights():
    logits = torch.randn(3, 2, 4, dtype=torch.float64)
    weights = evidential_weights(logits)
    for n in range(2):
        expected, before = [1.0], None
        for e in range(3):
            evidence = logits[e, n].exp().tolist()
            strength = sum(evidence) + 4
            belief = [v / strength for v in evidence]
            conflict = (
                0
                if before is None
                else sum(a * b for i, a in enumerate(before) for j, b in enumerate(belief) if i != j)
            )
            expected.append(expected[-1] * (4 / strength) / (1 - conflict))
            before = belief
        torch.testing.assert_close(weights[:, n].tolist(), expected)


def test_certain_expert_silences_the_next():
    certain, unsure = torch.tensor([30.0, 0.0, 0.0]), torch.zeros(3)
    weights = evidential_weights(torch.stack([torch.stack([certain, unsure]), torch.zeros(2, 3)]))
    assert weights[1, 0] < 1e-9 < 0.4 < weights[1, 1]


def test_opposed_experts_of_high_certainty():
    """1 - K is a difference of two numbers near 1, which float32 cannot tell apart."""
    logits = torch.tensor([[[22.0, 0.0]], [[0.0, 22.0]], [[22.0, 0.0]]])
    torch.testing.assert_close(evidential_weights(logits), evidential_weights(logits.double()).float())


@pytest.mark.parametrize('scale', [30, 1e4])
def test_large_logits_are_finite(scale):
    logits = torch.tensor([[[scale, -scale]], [[-scale, scale]], [[scale, scale]]])
    assert log_evidential_weights(logits).isfinite().all()
