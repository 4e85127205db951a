"""Logits in files: .npy, or the .npz that ``tools/test.py --out predictions.npz`` writes."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ltmm.utils.errors import InputError
from ltmm.utils.predictions import read_predictions

__all__ = ['read_labelled_logits', 'read_logits']


def read_logits(path: str | Path, label: Tensor, num_classes: int) -> Tensor:
    """Read logits, float64, (N, C).

    Args:
        path: A .npy file of logits, or a .npz file as for :func:`read_labelled_logits`, whose labels have to be these.
        label: Class indices of the samples, (N,).
        num_classes: C.
    """
    path = Path(path)
    if path.suffix == '.npz':
        logits, own = read_labelled_logits(path)
        if not torch.equal(own, label):
            raise InputError(f'Expected the labels of the dataset, in its order, in {path}.')
    else:
        try:
            logits = torch.from_numpy(np.load(path, allow_pickle=False).astype(np.float64))
        except (OSError, ValueError) as e:
            raise InputError(f'{path} is no readable .npy or .npz file of logits ({e}).') from None
    if logits.shape != (len(label), num_classes) or not logits.isfinite().all():
        raise InputError(
            f'Expected finite logits of shape {(len(label), num_classes)} in {path}, but got {tuple(logits.shape)}.'
        )
    return logits


def read_labelled_logits(path: str | Path) -> tuple[Tensor, Tensor]:
    """Read logits, float64, (N, C), and class indices, (N,).

    Args:
        path: The .npz file of ``tools/test.py --out predictions.npz``, whose ``pred_score`` become log-probabilities,
            or one with the arrays ``logits`` and ``gt_label``.
    """
    samples = read_predictions(path)
    key = 'logits' if samples and 'logits' in samples[0] else 'pred_score'
    if not samples or not {key, 'gt_label'} <= samples[0].keys():
        got = ', '.join(samples[0]) if samples else 'none'
        raise InputError(f'Expected the arrays `gt_label` and `logits` or `pred_score` in {path}, but got {got}.')
    label = torch.stack([torch.as_tensor(sample['gt_label']).flatten() for sample in samples])
    logits = torch.stack([torch.as_tensor(sample[key]) for sample in samples]).double()
    if logits.dim() != 2 or label.size(1) != 1 or label.is_floating_point():
        raise InputError(
            f'Expected `{key}` (N, C) and one class index per sample in {path}, but got {tuple(logits.shape)} and '
            f'{tuple(label.shape)}, {str(label.dtype).removeprefix("torch.")}.'
        )
    if key == 'logits' and (logits >= 0).all() and torch.allclose(logits.sum(1), logits.new_ones(()), atol=1e-3):
        raise InputError(f'Expected logits in {path}, but got probabilities: call that array `pred_score`.')
    return logits if key == 'logits' else logits.clamp(min=1e-20).log(), label[:, 0].long()
