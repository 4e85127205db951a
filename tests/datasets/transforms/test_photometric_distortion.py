import numpy as np
import pytest

from ltmm.registry import TRANSFORMS


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)


def distort(image, draws, monkeypatch, **options):
    """Apply the steps of ``draws``: brightness, contrast, saturation, hue, swap, contrast first."""
    monkeypatch.setattr('numpy.random.rand', lambda n: 1 - np.array(draws, dtype=float))
    np.random.seed(0)
    return TRANSFORMS.build(dict(type='ltmm.PhotoMetricDistortion', **options)).transform(dict(img=image))['img']


def test_no_step(image, monkeypatch):
    result = distort(image, [0, 0, 0, 0, 0, 0], monkeypatch)
    assert (result == image).all() and result.dtype == np.float32


def test_steps(image, monkeypatch):
    brighter = distort(image, [1, 0, 0, 0, 0, 0], monkeypatch) - image
    assert np.ptp(brighter) < 1e-4 and 0 < abs(brighter[0, 0, 0]) <= 32
    for first in (0, 1):
        scaled = distort(image, [0, 1, 0, 0, 0, first], monkeypatch, contrast=(0.5, 0.5))
        np.testing.assert_allclose(scaled, image * 0.5)
    grey = distort(image, [0, 0, 1, 0, 0, 0], monkeypatch, saturation=(0, 0))
    np.testing.assert_allclose(grey, np.repeat(image.max(axis=2, keepdims=True), 3, axis=2), atol=1e-3)
    turned = distort(image, [0, 0, 0, 1, 0, 0], monkeypatch)
    np.testing.assert_allclose(turned.max(axis=2), image.max(axis=2), atol=1e-3)  # value and saturation stay
    assert np.abs(turned - image).max() > 1
    swapped = distort(image, [0, 0, 0, 0, 1, 0], monkeypatch)
    assert (np.sort(swapped, axis=2) == np.sort(image, axis=2)).all()


def test_input_is_not_changed(image):
    before = image.copy()
    for _ in range(20):
        TRANSFORMS.build(dict(type='ltmm.PhotoMetricDistortion')).transform(dict(img=image))
    assert (image == before).all()
