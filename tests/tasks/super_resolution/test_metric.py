import numpy as np
import pytest
import torch
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity

from ltmm.registry import METRICS
from ltmm.tasks.super_resolution import SuperResolutionMetric, rare_pixels
from ltmm.utils.errors import InputError


def samples(num=2):
    torch.manual_seed(0)
    hr = torch.rand(num, 3, 28, 30)
    sr, bicubic = hr + 0.1 * torch.randn_like(hr), hr + 0.2 * torch.randn_like(hr)
    return [dict(sr=a, hr=b, bicubic=c) for a, b, c in zip(sr, hr, bicubic)]


def evaluate(given, **kwargs):
    metric = METRICS.build(dict(type='ltmm.SuperResolutionMetric', **kwargs))
    metric.process({}, given)
    return metric.evaluate(len(given))


def test_figures_against_scikit_image():
    given, border = samples(), 3
    expected = []
    for sample in given:
        inner = {name: image[:, border:-border, border:-border] for name, image in sample.items()}
        sr, hr = ((255 * inner[name].clamp(0, 1)).round().numpy().transpose(1, 2, 0) for name in ('sr', 'hr'))
        miss = (inner['hr'] - inner['bicubic']).abs().mean(0).numpy()
        rare = miss >= np.sort(miss.ravel())[-round(0.25 * miss.size)]

        def psnr(a, b):
            return 10 * np.log10(255**2 / ((a.astype(float) - b) ** 2).mean())

        y = [rgb2ycbcr(image / 255.0)[..., 0] for image in (sr, hr)]
        gaussian = dict(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255)
        expected.append(
            {
                'sr/psnr_y': psnr(*y),
                'sr/psnr_rgb': psnr(sr, hr),
                'sr/psnr_rare': psnr(sr[rare], hr[rare]),
                'sr/psnr_common': psnr(sr[~rare], hr[~rare]),
                'sr/ssim_y': structural_similarity(*y, **gaussian),
                'sr/ssim_rgb': structural_similarity(sr, hr, channel_axis=2, **gaussian),
            }
        )
    figures = evaluate(given, crop_border=border, rare_share=0.25)
    assert figures.keys() == expected[0].keys()
    for name, value in figures.items():
        assert value == pytest.approx(np.mean([row[name] for row in expected]), rel=1e-4), name


def test_borders_do_not_count():
    (sample,) = samples(1)
    spoiled = sample['sr'].clone()
    spoiled[:, :2] = spoiled[:, :, -2:] = 0
    assert evaluate([sample], crop_border=2) == evaluate([dict(sample, sr=spoiled)], crop_border=2)


def test_rare_pixels():
    hr, bicubic = torch.zeros(3, 4, 5), torch.zeros(3, 4, 5)
    bicubic[:, 1, 2], bicubic[0, 3, 4] = 0.5, 0.9
    assert rare_pixels(hr, bicubic, 0.1).nonzero().tolist() == [[1, 2], [3, 4]]
    assert rare_pixels(hr, hr, 0.3).sum() == 6  # also without any detail


def test_small_images_and_arguments():
    with pytest.raises(InputError, match='at least 31 pixels'):
        evaluate(samples(), crop_border=10)
    with pytest.raises(InputError, match='rare_share'):
        SuperResolutionMetric(rare_share=1.0)


def test_empty_test_set():
    with pytest.raises(InputError, match='SuperResolutionMetric: the test set is empty'):
        SuperResolutionMetric().evaluate(0)
