import torch

from ltmm.models.necks import FeatureProjection


def test_pools_maps_and_takes_vectors():
    neck = FeatureProjection(4, 6)
    maps = torch.randn(3, 4, 5, 7)
    (from_maps,), (from_vectors,) = neck((torch.zeros(3, 2, 9, 9), maps)), neck((maps.mean((2, 3)),))
    assert from_maps.shape == (3, 6)
    torch.testing.assert_close(from_maps, from_vectors)


def test_log_softmax_gives_log_probabilities():
    (x,) = FeatureProjection(4, 6, log_softmax=True)((torch.randn(3, 4),))
    torch.testing.assert_close(x.exp().sum(1), torch.ones(3))
