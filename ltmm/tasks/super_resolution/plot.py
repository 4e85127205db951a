"""Picture of an image, its focal weights, and what models make of it."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from .focal_pixel_loss import focal_pixel_weight

__all__ = ['plot_super_resolution']


def plot_super_resolution(
    results: Mapping[str, Mapping[str, Tensor]], path: str | Path, weights_of: str, size: int = 160
) -> None:
    """Write a picture: the part of an image with most detail, its static and learnable weights, and the results.

    Args:
        results: ``sr``, ``hr`` and ``bicubic`` of the same image by model, as :meth:`ResidualSR.predict` gives them.
        path: Image file (.png, .pdf, .svg).
        weights_of: Model whose error gives the learnable weights.
        size: Edge of the part in pixels.
    """
    from matplotlib.figure import Figure

    from ltmm.visualization.style import save_figure

    first = results[weights_of]
    hr, bicubic = (first[name].detach().cpu().float() for name in ('hr', 'bicubic'))
    miss = (hr - bicubic).abs()
    top, left = _busiest(miss.mean(0), size)

    def part(image: Tensor) -> Tensor:
        return image[..., top : top + size, left : left + size]

    error = (hr - first['sr'].detach().cpu().float()).abs()
    weights = {
        'static weight': focal_pixel_weight(miss[None], gamma=0.5)[0].mean(0),
        f'learnable weight ({weights_of})': focal_pixel_weight(error[None])[0].mean(0),
    }
    images = {'original': hr, 'bicubic': bicubic} | {name: sample['sr'].cpu() for name, sample in results.items()}
    panels = [*weights.items(), *images.items()]
    columns = (len(panels) + 1) // 2
    figure = Figure(figsize=(2.6 * columns, 5.6), layout='constrained')
    axes = figure.subplots(2, columns, squeeze=False)
    for ax in axes.flat:
        ax.axis('off')
    for ax, (title, image) in zip(axes.flat, panels):
        ax.set_title(title, fontsize=9)
        if image.dim() == 2:
            figure.colorbar(
                ax.imshow(part(image).numpy(), cmap='magma', vmax=float(part(image).quantile(0.99))), ax=ax, shrink=0.7
            )
        else:
            mse = float((part(image).clamp(0, 1) - part(hr)).square().mean())
            ax.imshow(part(image).clamp(0, 1).permute(1, 2, 0).numpy(), interpolation='nearest')
            if mse:
                ax.set_title(f'{title}: {-10 * torch.tensor(mse).log10():.2f} dB', fontsize=9)
    save_figure(figure, path, dpi=100)


def _busiest(miss: Tensor, size: int) -> tuple[int, int]:
    """Return the corner of the square with the largest sum."""
    size = min(size, *miss.shape)
    sums = torch.nn.functional.avg_pool2d(miss[None, None], size, stride=8)[0, 0]
    row, column = divmod(int(sums.argmax()), sums.size(1))
    return 8 * row, 8 * column
