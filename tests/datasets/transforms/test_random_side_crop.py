import numpy as np

from ltmm.registry import TRANSFORMS


def crops(shape, num=300, **options) -> list[np.ndarray]:
    np.random.seed(0)
    transform = TRANSFORMS.build(dict(type='ltmm.RandomSideCrop', **options))
    image = np.arange(np.prod(shape)).reshape(*shape, 1)
    return [transform.transform(dict(img=image)) for _ in range(num)]


def test_sides_are_independent():
    sizes = np.array([result['img'].shape[:2] for result in crops((100, 150))])
    shares = sizes / (100, 150)
    assert shares.min() >= 0.79 and shares.max() <= 1
    assert abs(np.corrcoef(shares.T)[0, 1]) < 0.2 and np.ptp(shares, axis=0).min() > 0.15


def test_crop():
    for result in crops((20, 30), num=20):
        crop = result['img'][..., 0]
        top, left = divmod(crop[0, 0], 30)
        whole = np.arange(600).reshape(20, 30)
        assert (crop == whole[top : top + crop.shape[0], left : left + crop.shape[1]]).all()
        assert result['img_shape'] == crop.shape


def test_long_image_is_not_cropped():
    assert {result['img'].shape[:2] for result in crops((10, 90), num=5)} == {(10, 90)}
    assert {result['img'].shape[:2] for result in crops((1, 1), num=5)} == {(1, 1)}
