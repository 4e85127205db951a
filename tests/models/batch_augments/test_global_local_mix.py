import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.models.batch_augments import BATCH_AUGMENTS, GlobalLocalMix
from ltmm.models.batch_augments.global_local_mix import box_around

SCORE = F.one_hot(torch.tensor([0, 0, 1, 2]), 3).float()
PARTNER_SCORE = F.one_hot(torch.tensor([2, 1, 2, 0]), 3)
SHAPE = (9, 14)


def images() -> Tensor:
    return torch.randn(8, 3, *SHAPE)


class Stream:
    """The same partners in every batch."""

    def __init__(self, partners: Tensor) -> None:
        self.partners, self.asked = partners, []

    def read(self, size: int, epoch: int) -> tuple[Tensor, Tensor]:
        self.asked.append((size, epoch))
        return self.partners, PARTNER_SCORE


def build(partners: Tensor | None = None, **options) -> GlobalLocalMix:
    augment = BATCH_AUGMENTS.build(dict(options, type='ltmm.GlobalLocalMix'))
    augment.set_progress(3, 10)
    augment.partners = Stream(images() if partners is None else partners)
    return augment


@pytest.mark.parametrize(
    ('center', 'share', 'expected'),
    [
        ((4, 7), 1 - 1 / 4, (2, 6, 4, 10)),  # sides of 4.5 and 7, that is 5 and 7, of which one pixel each is lost
        ((0, 13), 1 - 1 / 4, (0, 2, 10, 14)),  # clipped at two edges
        ((4, 7), 1.0, (4, 4, 7, 7)),
        ((4, 7), 0.0, (0, 8, 0, 14)),  # the whole image but a row
    ],
)
def test_box(center, share, expected):
    assert box_around(center, SHAPE, share) == expected


@pytest.mark.parametrize('exact_area', [False, True])
def test_views_and_labels_are_mixed_pixel_by_pixel(exact_area):
    """What is drawn is found by replaying the random numbers."""
    inputs, partners = images(), images()
    augment, before, shares = build(partners, exact_area=exact_area), inputs.clone(), set()
    for seed in range(5):
        np.random.seed(seed)
        mixed, score = augment(inputs, SCORE)
        np.random.seed(seed)
        share = np.random.beta(1, 1)
        row, column = np.random.randint(9), np.random.randint(14)
        half = [math.ceil(side * math.sqrt(1 - share)) // 2 for side in SHAPE]
        pasted = torch.zeros(SHAPE, dtype=torch.bool)
        for r in range(9):
            for c in range(14):
                pasted[r, c] = row - half[0] <= r < row + half[0] and column - half[1] <= c < column + half[1]
        share = 1 - pasted.float().mean().item() if exact_area else share
        torch.testing.assert_close(mixed[:4], share * inputs[:4] + (1 - share) * partners[:4])
        torch.testing.assert_close(mixed[4:], torch.where(pasted, partners[4:], inputs[4:]))
        torch.testing.assert_close(score, share * SCORE + (1 - share) * PARTNER_SCORE.float())
        shares.add(share)
    assert torch.equal(inputs, before) and len(shares) == 5
    assert augment.partners.asked == [(4, 3)] * 5


def test_single_views_are_refused():
    with pytest.raises(ValueError, match=r'GlobalLocalMix mixes 2 view\(s\) of each image, but got 4 images with 4'):
        build()(images()[:4], SCORE)


def test_images_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r'images of one size, but got \(3, 9, 14\) and \(3, 9, 15\)'):
        build(torch.zeros(8, 3, 9, 15))(images(), SCORE)


def test_needs_its_hook():
    augment = BATCH_AUGMENTS.build(dict(type='ltmm.GlobalLocalMix'))
    with pytest.raises(RuntimeError, match='ltmm.BatchAugmentHook'):
        augment(images(), SCORE)


def test_invalid_sampler():
    with pytest.raises(TypeError, match='GlobalLocalMix: expected `sampler` to be dict'):
        build(sampler='ltmm.PowerSampler')
