import pytest
import torch

from ltmm.tasks.super_resolution import image_to_patches, patches_to_image
from ltmm.utils.errors import InputError


@pytest.mark.parametrize('size, step', [(8, 7), (8, 8), (8, 3), (5, 5), (40, 30)])
def test_patches_put_back_give_the_image(size, step):
    images = torch.rand(2, 3, 21, 26)
    patches = image_to_patches(images, size, step)
    torch.testing.assert_close(patches_to_image(patches, 21, 26, size, step), images)


def test_patches_by_hand():
    images = torch.rand(2, 3, 21, 26)
    patches = image_to_patches(images, 8, 7)
    corners = [(n, row, column) for n in range(2) for row in (0, 7, 13) for column in (0, 7, 14, 18)]
    expected = [images[n, :, row : row + 8, column : column + 8] for n, row, column in corners]
    assert torch.equal(patches, torch.stack(expected))


def test_overlaps_are_averaged():
    patches = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)])  # of a 2 x 3 image, enlarged by 2
    image = patches_to_image(patches, 2, 3, 2, 1, scale=2)
    assert image[0, 0].tolist() == [[0, 0, 0.5, 0.5, 1, 1]] * 4


def test_small_image_is_one_patch():
    images = torch.rand(1, 3, 5, 20)
    assert image_to_patches(images, 8, 8).shape == (3, 3, 5, 8)


@pytest.mark.parametrize('bad', [dict(size=0, step=1), dict(size=4, step=5), dict(size=4, step=0)])
def test_gaps_are_refused(bad):
    with pytest.raises(InputError, match='Expected `s'):
        image_to_patches(torch.rand(1, 3, 8, 8), **bad)
