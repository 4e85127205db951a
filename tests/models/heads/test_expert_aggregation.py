import pytest
import torch

from ltmm.models.heads import EvidentialAggregation, MeanAggregation, WeightedAggregation
from ltmm.models.losses.expert import evidential_weights


def test_mean_and_equal_weights():
    logits = torch.randn(4, 5, 3)
    torch.testing.assert_close(MeanAggregation()(logits), sum(logits) / 4)
    torch.testing.assert_close(WeightedAggregation([0.25] * 4)(logits), sum(logits) / 4)


def test_weights():
    logits = torch.randn(2, 5, 3)
    aggregation = WeightedAggregation([0.3, 0.7])
    torch.testing.assert_close(aggregation(logits), 0.3 * logits[0] + 0.7 * logits[1])
    assert not aggregation.state_dict()  # of a test set, not of the model


@pytest.mark.parametrize('scale', [30, 1e4])
def test_large_and_opposed_logits(scale):
    logits = torch.tensor([[[scale, -scale]], [[-scale, scale]], [[scale, scale]]])
    assert EvidentialAggregation()(logits).isfinite().all()


def test_prediction_depends_on_the_batch_only_with_normalize_batch():
    logits = torch.randn(3, 4, 5)
    for normalize, same in (('experts', True), ('batch', False)):
        aggregation = EvidentialAggregation(normalize=normalize)
        assert torch.allclose(aggregation(logits)[:1], aggregation(logits[:, :1])) == same


def test_uncertainty_is_the_weight_of_a_further_expert():
    logits = torch.randn(3, 4, 5)
    aggregation, further = EvidentialAggregation(), torch.cat([logits, torch.randn(1, 4, 5)])
    torch.testing.assert_close(aggregation.uncertainty(logits).float(), evidential_weights(further)[3])


def test_uncertainties_of_very_certain_experts_differ():
    """They are powers of the uncertainty of an expert, below the smallest number of float32."""
    logits = torch.zeros(4, 3, 100)
    logits[..., 7] = torch.tensor([28.0, 30.0, 32.0])
    uncertainty = EvidentialAggregation().uncertainty(logits)
    torch.testing.assert_close(uncertainty, evidential_weights(logits.double())[-1], rtol=1e-4, atol=0)
    assert (uncertainty.diff() < 0).all() and (uncertainty > 0).all()
