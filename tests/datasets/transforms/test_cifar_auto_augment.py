import numpy as np
import torch

from ltmm.registry import TRANSFORMS


def test_random_by_torch_seed():
    transform = TRANSFORMS.build(dict(type='ltmm.CIFARAutoAugment'))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)

    def drawn(seed: int) -> list[np.ndarray]:
        torch.manual_seed(seed)
        return [transform(dict(img=image.copy(), gt_label=3))['img'] for _ in range(20)]

    once = drawn(0)
    assert all(img.shape == (32, 32, 3) and img.dtype == np.uint8 for img in once)
    np.testing.assert_array_equal(once, drawn(0))
    assert len({img.tobytes() for img in once}) > 10


def test_other_results():
    results = TRANSFORMS.build(dict(type='ltmm.CIFARAutoAugment'))(dict(img=np.zeros((8, 8, 3), np.uint8), gt_label=3))
    assert results['gt_label'] == 3
