"""Projectors of contrastive losses, and the check of the features that they get."""

from torch import nn

from ltmm.utils.errors import InputError

from ..objective import USE_VIEWS, LossInputs

__all__ = ['check_features', 'projector']


def projector(in_channels: int, feat_dim: int, num_layers: int = 2, batch_norm: bool = False) -> nn.Sequential:
    """Build linear layers with a ReLU between them, and batch norm before each ReLU if wanted.

    Args:
        in_channels: Width of the features, and of the layers between.
        feat_dim: Width of the projected features.
        num_layers: Number of linear layers.
        batch_norm: Normalize before each ReLU.
    """
    norm = [nn.BatchNorm1d] if batch_norm else []
    layers = []
    for _ in range(num_layers - 1):
        layers += [nn.Linear(in_channels, in_channels), *(layer(in_channels) for layer in norm), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(in_channels, feat_dim))


def check_features(
    loss: nn.Module, inputs: LossInputs, in_channels: int, num_views: int, or_more: bool = False
) -> None:
    """Refuse another number of views than a loss contrasts, and features or keys of another width.

    Args:
        loss: The loss, named in messages.
        inputs: Its inputs.
        in_channels: Expected width.
        num_views: Expected views of each image.
        or_more: Further views are fine.
    """
    name, num_images = type(loss).__name__, len(inputs.label)
    views = inputs.num_views if num_images else num_views
    if views < num_views or (views > num_views and not or_more):
        expected = f'{"at least " * or_more}{num_views} view{"s" * (num_views > 1)}'
        raise InputError(f'{name}: expected {expected} of each image, but got {views}: {USE_VIEWS}')
    for field, rows in dict(features=views * num_images, key_features=num_images).items():
        shape = getattr(inputs, field).shape if field in loss.requires else (rows, in_channels)
        if shape != (rows, in_channels):
            expected = rows, in_channels
            raise InputError(f'{name}: expected {field} {expected}, but got {tuple(shape)}: check its in_channels.')
