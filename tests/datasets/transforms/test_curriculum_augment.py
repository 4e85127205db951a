import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from ltmm.datasets.transforms import curriculum_augment
from ltmm.datasets.transforms.curriculum_augment import OPERATIONS, Operation, augment
from ltmm.registry import TRANSFORMS

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
RANGES = {  # of the paper's code
    **dict.fromkeys(['flip', 'mirror', 'edge', 'detail', 'smooth', 'autocontrast', 'equalize', 'invert'], (0, 1)),
    **dict.fromkeys(['color', 'contrast', 'brightness', 'sharpness'], (0.1, 1.9)),
    **dict(blur=(0, 2), enlarge=(1, 1.5), rotate=(0, 30), posterize=(0, 4), solarize=(0, 256), solarize_add=(0, 110)),
    **dict(shear_x=(0, 0.3), shear_y=(0, 0.3), translate_x=(0, 100), translate_y=(0, 100)),
}
SIGNED = {'rotate', 'shear_x', 'shear_y', 'translate_x', 'translate_y'}


def apply(name: str, value: float) -> np.ndarray:
    return np.asarray(OPERATIONS[name].apply(Image.fromarray(IMAGE), value))


def test_magnitudes():
    assert len(OPERATIONS) == 22 and OPERATIONS.keys() == RANGES.keys()
    for name, operation in OPERATIONS.items():
        low, high = RANGES[name]
        values = [operation.value(strength) for strength in (0, 3, 10, 30)]
        assert values == pytest.approx([low, low + 0.1 * (high - low), low + (high - low) / 3, high])
        assert operation.is_signed == (name in SIGNED)


@pytest.mark.parametrize(
    ('name', 'value', 'expected'),
    [
        ('flip', 0, IMAGE[::-1]),
        ('mirror', 0, IMAGE[:, ::-1]),
        ('invert', 0, 255 - IMAGE),
        ('brightness', 0.5, IMAGE // 2),
        ('posterize', 0.3, IMAGE & 128),
        ('posterize', 3.9, IMAGE & 224),
        ('solarize', 0, 255 - IMAGE),
        ('solarize', 100, np.where(IMAGE < 100, IMAGE, 255 - IMAGE)),
        ('solarize_add', 33.7, np.where(IMAGE < 128, IMAGE + 33.0, IMAGE)),
        ('translate_x', 3, np.pad(IMAGE[:, 3:], ((0, 0), (0, 3), (0, 0)))),
        ('translate_x', -3, np.pad(IMAGE[:, :-3], ((0, 0), (3, 0), (0, 0)))),
        ('translate_y', 100, 0 * IMAGE),
        ('enlarge', 1, IMAGE),
        ('rotate', 0, IMAGE),
    ],
)
def test_operation(name, value, expected):
    np.testing.assert_array_equal(apply(name, value), expected)


@pytest.mark.parametrize('name', OPERATIONS)
@pytest.mark.parametrize('strength', [1, 30])
def test_every_operation_keeps_size_and_type(name, strength):
    changed = apply(name, OPERATIONS[name].value(strength))
    assert changed.shape == IMAGE.shape and changed.dtype == np.uint8


def test_a_strength_is_the_number_of_operations_and_their_strength(monkeypatch):
    calls = []
    operations = {
        name: Operation(lambda image, value, name=name: calls.append((name, value)) or image, 0, 60, name == 'b')
        for name in 'abc'
    }
    monkeypatch.setattr(curriculum_augment, 'OPERATIONS', operations)
    np.random.seed(0)
    for _ in range(300):
        augment(IMAGE, 4)
    assert len(calls) == 1200 and {abs(value) for _, value in calls} == {8}
    names, values = zip(*calls)
    assert all(350 < names.count(name) < 450 for name in 'abc')
    assert {value for name, value in calls if name != 'b'} == {8}
    assert 150 < values.count(-8) < 250
    assert len({names[i : i + 4] for i in range(0, 1200, 4)}) > 60  # of 81, with repetition


def test_images_are_augmented_by_the_level_of_their_class(monkeypatch):
    strengths = []
    monkeypatch.setattr(curriculum_augment, 'augment', lambda image, strength: strengths.append(strength) or image)
    transform = TRANSFORMS.build(dict(type='ltmm.CurriculumAugment', prob=0.25))
    transform.levels = torch.tensor([0, 3, 7])
    np.random.seed(0)
    for label in [1, 2] * 1000:
        transform.transform(dict(img=IMAGE, gt_label=label))
    for first, level in ((0, 3), (1, 7)):
        assert set(strengths[first::2]) == {0, level}
        assert 200 < strengths[first::2].count(level) < 300
    transform.strength = 5
    transform.transform(dict(img=IMAGE, gt_label=0))
    assert strengths[-1] == 5


class Images(list):
    """One image of class 0 that passes the transform."""

    def __getitem__(self, index: int) -> np.ndarray:
        return self.transform.transform(dict(img=IMAGE, gt_label=0))['img']


def test_workers_that_stay_see_new_levels():
    images = Images([None] * 4)
    images.transform = TRANSFORMS.build(dict(type='ltmm.CurriculumAugment', prob=1.0))
    images.transform.levels = torch.zeros(1, dtype=torch.int64).share_memory_()
    loader = DataLoader(images, batch_size=None, num_workers=1, persistent_workers=True)
    assert all((image.numpy() == IMAGE).all() for image in loader)
    images.transform.levels[0] = 10
    assert not any((image.numpy() == IMAGE).all() for image in loader)


def test_without_the_hook():
    transform = TRANSFORMS.build(dict(type='ltmm.CurriculumAugment', prob=1.0))
    with pytest.raises(RuntimeError, match='CurriculumHook'):
        transform.transform(dict(img=IMAGE, gt_label=0))
    with pytest.raises(ValueError, match='`prob`'):
        TRANSFORMS.build(dict(type='ltmm.CurriculumAugment', prob=1.5))
