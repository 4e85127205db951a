import pytest
import torch

from ltmm.registry import MODELS


def modulated_attention():
    return MODELS.build(dict(type='ltmm.ModulatedAttention', in_channels=6, spatial_size=3))


def test_equals_the_formula():
    neck, maps = modulated_attention(), torch.randn(2, 6, 3, 3)
    neck.conv_mask.weight.data.normal_()
    for x, got in zip(maps, neck((torch.zeros(1), maps))[0]):
        places = x.flatten(1).T  # (9, 6)
        theta, phi, g = (
            places @ conv.weight.flatten(1).T + conv.bias for conv in (neck.theta, neck.phi, neck.g)
        )  # (9, 3)
        attended = torch.stack([sum(a * row for a, row in zip((t @ phi.T).softmax(0), g)) for t in theta])
        spatial = neck.fc_spatial(x.flatten()).softmax(0)
        torch.testing.assert_close(neck.spatial_attention(x[None]).flatten(), spatial)
        expected = places + spatial[:, None] * (attended @ neck.conv_mask.weight.flatten(1).T)
        torch.testing.assert_close(got.flatten(1).T, expected)


def test_starts_as_the_identity():
    maps = torch.randn(2, 6, 3, 3)
    assert torch.equal(modulated_attention()((maps,))[0], maps)


def test_maps_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r'spatial_size=3.*\(2, 3\)'):
        modulated_attention()((torch.zeros(1, 6, 2, 3),))
