import numpy as np
import pytest
import torch
from PIL import Image

from ltmm.registry import DATASETS
from ltmm.tasks.super_resolution import DIV2K, SamplePhotos, SuperResolutionDataset, downscale
from ltmm.utils.data_files import DataFileError
from ltmm.utils.errors import InputError


def write(folder, *sizes):
    folder.mkdir(parents=True)
    images = [np.random.RandomState(k).randint(0, 256, (*size, 3), dtype=np.uint8) for k, size in enumerate(sizes)]
    for k, image in enumerate(images):
        Image.fromarray(image).save(folder / f'{k}.png')
    return images


def cubic(x):
    """Kernel of bicubic interpolation with coefficient -0.5."""
    x = abs(x)
    inner, outer = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, inner, np.where(x < 2, outer, 0))


def shrinking(length, scale):
    """Matrix of the antialiased interpolation along one axis, (length // scale, length)."""
    centers = (np.arange(length // scale) + 0.5) * scale - 0.5
    weights = cubic((np.arange(length) - centers[:, None]) / scale)
    return weights / weights.sum(1, keepdims=True)


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_antialiased_bicubic(scale):
    image = np.random.RandomState(0).randint(0, 256, (24, 36, 3), dtype=np.uint8)
    expected = np.einsum('ih,hwc,jw->ijc', shrinking(24, scale), image.astype(float), shrinking(36, scale))
    small = downscale(image, scale)
    assert small.shape == (24 // scale, 36 // scale, 3)
    assert abs(small - expected.clip(0, 255)).max() < 1.01  # rounded twice


def test_whole_images(tmp_path):
    images = write(tmp_path / 'hr', (21, 18), (16, 16))
    dataset = DATASETS.build(dict(type='ltmm.SuperResolutionDataset', data_root=str(tmp_path / 'hr'), scale=4))
    sample = dataset[0]
    hr = images[0][:20, :16]
    torch.testing.assert_close(sample['data_samples']['hr'], torch.tensor(hr.transpose(2, 0, 1) / 255).float())
    small = downscale(hr, 4).transpose(2, 0, 1) / 255
    torch.testing.assert_close(sample['inputs'], torch.tensor(small).float())
    assert len(dataset) == 2 and dataset[1]['data_samples']['sample_idx'] == 1


@pytest.mark.parametrize('in_memory', [True, False])
def test_crops_stand_at_the_same_place(tmp_path, in_memory):
    blocks = np.random.RandomState(0).randint(0, 256, (9, 11, 3), dtype=np.uint8)
    (tmp_path / 'hr').mkdir()
    (tmp_path / 'lr').mkdir()
    Image.fromarray(blocks.repeat(2, 0).repeat(2, 1)).save(tmp_path / 'hr/a.png')
    Image.fromarray(blocks).save(tmp_path / 'lr/ax2.png')
    roots = dict(data_root=str(tmp_path / 'hr'), lr_root=str(tmp_path / 'lr'), scale=2)
    dataset = SuperResolutionDataset(**roots, patch_size=5, crops_per_image=40, in_memory=in_memory)
    torch.manual_seed(0)
    crops = [dataset[k] for k in range(len(dataset))]
    assert len(crops) == 40
    for crop in crops:
        lr, hr = crop['inputs'], crop['data_samples']['hr']
        assert torch.equal(hr, lr.repeat_interleave(2, 1).repeat_interleave(2, 2)) and lr.shape == (3, 5, 5)
    distinct = {crop['inputs'].numpy().tobytes() for crop in crops}
    assert len(distinct) > 30
    torch.manual_seed(0)
    assert torch.equal(dataset[0]['inputs'], crops[0]['inputs'])


@pytest.mark.parametrize('number', range(8))
def test_each_flip_and_transposition(monkeypatch, tmp_path, number):
    (image,) = write(tmp_path / 'hr', (4, 4))
    bits = [number >> k & 1 for k in range(3)]
    draws = iter([torch.tensor(0), torch.tensor(0), torch.tensor(bits)])
    monkeypatch.setattr(torch, 'randint', lambda *args: next(draws))
    hr = SuperResolutionDataset(str(tmp_path / 'hr'), 1, patch_size=4)[0]['data_samples']['hr']
    expected = image / 255
    for axis in (0, 1):
        expected = np.flip(expected, axis) if bits[axis] else expected
    expected = expected.swapaxes(0, 1) if bits[2] else expected
    np.testing.assert_allclose(hr.permute(1, 2, 0), expected, atol=1e-6)


def test_sample_photos_are_apart():
    assert not set(SamplePhotos.PHOTOS['train']) & set(SamplePhotos.PHOTOS['test'])
    dataset = SamplePhotos('test', scale=4)
    assert len(dataset) == 4
    for sample in dataset:
        lr, hr = sample['inputs'], sample['data_samples']['hr']
        assert hr.shape == (3, 4 * lr.size(1), 4 * lr.size(2)) and 0 <= hr.min() < 0.2 and 0.8 < hr.max() <= 1


def test_div2k(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'Fetch https://.*/DIV2K_valid_HR\.zip and unpack it in'):
        DIV2K('valid', str(tmp_path))
    write(tmp_path / 'DIV2K_valid_HR', (16, 24))
    with pytest.raises(FileNotFoundError, match=r'DIV2K_valid_LR_bicubic_X4\.zip'):
        DIV2K('valid', str(tmp_path))
    (lr,) = write(tmp_path / 'DIV2K_valid_LR_bicubic/X4', (4, 6))
    sample = DIV2K('valid', str(tmp_path))[0]
    torch.testing.assert_close(sample['inputs'], torch.tensor(lr.transpose(2, 0, 1) / 255).float())


def test_invalid_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match='There is no folder of images'):
        SuperResolutionDataset(str(tmp_path / 'none'))
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match='found none'):
        SuperResolutionDataset(str(tmp_path / 'empty'))
    write(tmp_path / 'hr', (16, 16))
    with pytest.raises(InputError, match=r'0\.png: expected at least 20 pixels .* 16 x 16'):
        SuperResolutionDataset(str(tmp_path / 'hr'), patch_size=5)
    write(tmp_path / 'lr', (5, 4))
    with pytest.raises(InputError, match=r'expected a small image of 4 x 4 .* got 5 x 4'):
        SuperResolutionDataset(str(tmp_path / 'hr'), lr_root=str(tmp_path / 'lr'))
    write(tmp_path / 'two', (4, 4), (4, 4))
    with pytest.raises(InputError, match='Expected 1 images'):
        SuperResolutionDataset(str(tmp_path / 'hr'), lr_root=str(tmp_path / 'two'))
    (tmp_path / 'hr/0.png').write_bytes(b'no image')
    with pytest.raises(DataFileError, match=r'0\.png cannot be read'):
        SuperResolutionDataset(str(tmp_path / 'hr'))


def test_crops_need_a_size(tmp_path):
    with pytest.raises(InputError, match='patch_size'):
        SuperResolutionDataset(str(tmp_path), crops_per_image=3)
