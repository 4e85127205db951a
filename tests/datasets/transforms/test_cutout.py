import mmcv
import numpy as np
import pytest

from ltmm.datasets.transforms import Cutout
from ltmm.registry import TRANSFORMS


@pytest.mark.parametrize(
    ('center', 'rows', 'columns'),
    [((0, 31), (0, 8), (23, 32)), ((16, 16), (8, 24), (8, 24)), ((31, 3), (23, 32), (0, 11))],
)
def test_square_is_clipped_at_the_border(center, rows, columns, monkeypatch):
    monkeypatch.setattr(np.random, 'randint', lambda shape: np.array(center))
    image = np.full((32, 32, 3), 9, np.uint8)
    expected = image.copy()
    expected[slice(*rows), slice(*columns)] = 0
    results = Cutout(size=16)(dict(img=image))
    np.testing.assert_array_equal(results['img'], expected)
    assert image.all()  # CIFAR's images stay in memory


def test_mmcv_covers_more():
    np.random.seed(0)
    image = np.ones((32, 32, 3), np.uint8)
    cutout = TRANSFORMS.build(dict(type='ltmm.Cutout', size=16))
    ours, theirs = (
        np.mean([1 - cut(image).mean() for _ in range(3000)])
        for cut in (lambda x: cutout(dict(img=x))['img'], lambda x: mmcv.cutout(x, 16, pad_val=0))
    )
    assert ours == pytest.approx((14 / 32) ** 2, rel=0.02)  # 14 rows on average
    assert theirs / ours == pytest.approx(1.17, abs=0.03)
