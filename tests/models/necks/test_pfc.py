import pytest
import torch

from ltmm.models.necks import PFC
from ltmm.registry import MODELS


def test_maps_are_pooled_and_projected():
    neck = MODELS.build(dict(type='ltmm.PFC', in_channels=6, out_channels=4, dropout=0.5)).eval()
    maps = torch.randn(3, 6, 2, 5)
    (pooled,) = neck((torch.zeros(1), maps))
    torch.testing.assert_close(pooled, neck((maps.mean((2, 3)),))[0])
    torch.testing.assert_close(pooled, neck.layers[1](neck.layers[0](maps.mean((2, 3)))))
    assert pooled.shape == (3, 4)


def test_half_of_the_normalised_features_are_dropped_in_training():
    torch.manual_seed(0)
    (features,) = PFC(6, 400, 0.5).train()((torch.randn(8, 6),))
    assert 0.45 < (features == 0).float().mean() < 0.55


def test_start():
    """As the authors': Kaiming normal with fan_out and bias 0; batch norm hides the scale, not the effective rate."""
    neck = PFC(2048, 256, 0.5)
    neck.init_weights()
    linear = neck.layers[0]
    assert linear.weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.01)
    assert (linear.bias == 0).all()
