"""Super-resolution as a long-tailed regression: most pixels are smooth and easy, few have detail and are hard."""

from .datasets import DIV2K, SamplePhotos, SuperResolutionDataset, downscale
from .focal_pixel_loss import FocalPixelLoss, PixelLoss, focal_pixel_weight
from .metric import SuperResolutionMetric, rare_pixels
from .networks import CARNM, FSRCNN, MSRN, SRResNet
from .patches import image_to_patches, patches_to_image
from .plot import plot_super_resolution
from .residual_sr import ResidualSR, enlarge

__all__ = [
    'CARNM',
    'DIV2K',
    'FSRCNN',
    'MSRN',
    'FocalPixelLoss',
    'PixelLoss',
    'ResidualSR',
    'SRResNet',
    'SamplePhotos',
    'SuperResolutionDataset',
    'SuperResolutionMetric',
    'downscale',
    'enlarge',
    'focal_pixel_weight',
    'image_to_patches',
    'patches_to_image',
    'plot_super_resolution',
    'rare_pixels',
]
