"""Attention maps of trained classifiers with the modulated attention of OLTR."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ltmm.engine.runner.model_outputs import model_outputs
from ltmm.evaluation.reports.attention_report import attention_rows, attention_summary
from ltmm.evaluation.reports.feature_report import balanced_rows
from ltmm.models.necks import ModulatedAttention
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError
from ltmm.utils.shots import Shots, group_classes
from ltmm.visualization.attention_plot import plot_attention
from ltmm.visualization.style import check_image_file

from .image_files import network_order
from .split import Split

__all__ = ['AttentionMaps', 'attention_maps', 'show_attention']


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """The modulated attention of a classifier to N images, and the images.

    Args:
        images: As the network sees them, (N, H, W, 3), uint8, RGB.
        weights: Weights of the positions, (N, h, w), which sum to 1 over each image.
        change: Norm of what the attention adds to the feature maps, in percent of that of the maps, (N,).
        prediction: Predicted class, (N,).
    """

    images: np.ndarray
    weights: np.ndarray
    change: np.ndarray
    prediction: np.ndarray


def attention_maps(split: Split, rows: np.ndarray) -> AttentionMaps:
    """Compute the attention for some images, by forward hooks: the model keeps nothing.

    Args:
        split: A classifier and its data.
        rows: Indices of the images.
    """
    model = split.trained.model
    attention = _modulated_attention(model)
    is_bgr = network_order(split.trained) == 'BGR'
    images, weights, changes = [], [], []

    def keep_images(_: nn.Module, inputs: tuple) -> None:
        images.append(_pixels(inputs[0], model.data_preprocessor, is_bgr))

    def keep_attention(neck: nn.Module, inputs: tuple, output: tuple[Tensor]) -> None:
        x = inputs[0][-1]
        weights.append(neck.spatial_attention(x).squeeze(1).float().cpu())
        norm = x.flatten(1).norm(dim=1).clamp(min=torch.finfo(x.dtype).tiny)
        changes.append((100 * (output[0] - x).flatten(1).norm(dim=1) / norm).float().cpu())

    hooks = [
        model.backbone.register_forward_pre_hook(keep_images),
        attention.register_forward_hook(keep_attention),
    ]
    try:
        predictions = [batch.logits.argmax(dim=1) for batch in model_outputs(model, split.loader_of(rows))]
    finally:
        for hook in hooks:
            hook.remove()
    return AttentionMaps(*(torch.cat(part).numpy() for part in (images, weights, changes, predictions)))


def show_attention(
    split: Split, path: Path, *, name: str, per_class: int = 5, columns: int = 6, seed: int = 0
) -> list[dict]:
    """Plot the attention over images of many- and few-shot classes, and print how much it selects.

    Args:
        split: A classifier and its data.
        path: Image file (.png, .pdf, .svg).
        name: Name of the model, for the title.
        per_class: Images of each class that are measured; classes with fewer are left out.
        columns: Images of each group that are drawn, of different classes.
        seed: Seed of the images.

    Returns:
        See :func:`ltmm.evaluation.reports.attention_rows`.
    """
    check_image_file(path)
    check(columns=(columns, 'int >= 1'))
    _modulated_attention(split.trained.model)  # a model without one is refused before images are chosen
    shots = group_classes(split.distribution.image_counts, 'auto')
    rows = balanced_rows(split.label, shots, per_class, seed=seed)
    maps, label = attention_maps(split, rows), split.label[rows]
    measures = attention_rows(maps.weights, maps.change, label, shots)
    print(attention_summary(measures, maps.weights[0].size))
    names = split.trained.name_of
    groups = {}
    for group, chosen in _drawn(label, shots, columns, seed).items():
        captions = [
            names(label[i]) + ('' if maps.prediction[i] == label[i] else f'\nas {names(maps.prediction[i])}')
            for i in chosen
        ]
        groups[group] = list(zip(captions, maps.images[chosen], maps.weights[chosen]))
    change = measures[0]['change']
    title = f'{name}: modulated attention; it changes the feature maps by {change:.2g} % (mean of {len(rows)} images)'
    print(f'Wrote {plot_attention(groups, path, title)}')
    return measures


def _modulated_attention(model: nn.Module) -> ModulatedAttention:
    """Return the attention of a model with one."""
    necks = [module for module in model.modules() if isinstance(module, ModulatedAttention)]
    if len(necks) != 1:
        raise InputError(
            f'Expected a model with one ltmm.ModulatedAttention, such as that of oltr_r32.py, but got {len(necks)}. '
            "For models without attention there is mmpretrain's tools/visualization/vis_cam.py."
        )
    return necks[0]


def _drawn(label: np.ndarray, shots: Shots, columns: int, seed: int) -> dict[str, np.ndarray]:
    """Choose equally many images of many- and few-shot classes, each of another class."""
    rng = np.random.default_rng(seed)
    classes = {group: np.unique(label[mask[label]]) for group, mask in shots.items() if group != 'medium'}
    classes = {group: own for group, own in classes.items() if len(own)}
    if not classes:
        raise InputError('Expected images of many- or few-shot classes, but all are medium-shot.')
    columns = min([columns, *map(len, classes.values())])
    return {
        group: np.array([rng.choice(np.flatnonzero(label == c)) for c in rng.choice(own, columns, replace=False)])
        for group, own in classes.items()
    }


def _pixels(inputs: Tensor, preprocessor: nn.Module, is_bgr: bool) -> Tensor:
    """Undo the normalization, and the order BGR: (N, 3, H, W) to (N, H, W, 3), uint8."""
    statistics = dict(preprocessor.named_buffers())
    if 'mean' in statistics:
        inputs = inputs * statistics['std'] + statistics['mean']
    if is_bgr:
        inputs = inputs.flip(1)
    inputs = inputs.expand(-1, 3, -1, -1)  # of gray images too
    return inputs.round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu()
