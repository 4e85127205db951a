import pytest
import torch

from ltmm.models.heads import EvidentialAggregation, MeanAggregation, WeightedAggregation
from ltmm.models.heads.expert_aggregation import evidential_weights


def test_mean_and_equal_weights():
    logits = torch.randn(4, 5, 3)
    torch.testing.assert_close(MeanAggregation()(logits), sum(logits) / 4)
    torch.testing.assert_close(WeightedAggregation([0.25] * 4)(logits), sum(logits) / 4)


def test_weights():
    logits = torch.randn(2, 5, 3)
    aggregation = WeightedAggregation([0.3, 0.7])
    torch.testing.assert_close(aggregation(logits), 0.3 * logits[0] + 0.7 * logits[1])
    assert not aggregation.state_dict()  # of a test set, not of the model


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


@pytest.mark.parametrize('scale', [30, 1e4])
def test_large_and_opposed_logits(scale):
    logits = torch.tensor([[[scale, -scale]], [[-scale, scale]], [[scale, scale]]])
    assert EvidentialAggregation()(logits).isfinite().all()


def test_prediction_depends_on_the_batch_only_with_normalize_batch():
    logits = torch.randn(3, 4, 5)
    for normalize, same in (('experts', True), ('batch', False)):
        aggregation = EvidentialAggregation(normalize=normalize)
        assert torch.allclose(aggregation(logits)[:1], aggregation(logits[:, :1])) == same
