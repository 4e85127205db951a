"""Errors of the best of K predictions, on the hardest tracks and on the rest."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ltmm.evaluation.non_empty import NonEmptyTestSet
from ltmm.registry import METRICS
from ltmm.utils.checks import check
from ltmm.utils.data_files import read_array
from ltmm.utils.errors import InputError

__all__ = ['MinADEFDEMetric', 'hardest', 'min_ade_fde']


def min_ade_fde(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the mean and the final error of the best prediction, each of its own best one, in meters, (B,) each.

    Args:
        prediction: (B, K, H, 2).
        target: (B, H, 2).
    """
    distance = (prediction - target.unsqueeze(1)).norm(dim=-1)  # (B, K, H)
    return distance.mean(2).amin(1), distance[..., -1].amin(1)


def hardest(hardness: np.ndarray, share: float) -> np.ndarray:
    """Return which tracks are among a share of the hardest, rounded up, (N,); of equals the first.

    Args:
        hardness: (N,).
        share: In (0, 1].
    """
    order = np.argsort(-hardness, kind='stable')
    mask = np.zeros(len(hardness), dtype=bool)
    mask[order[: math.ceil(share * len(hardness) - 1e-9)]] = True
    return mask


@METRICS.register_module()
class MinADEFDEMetric(NonEmptyTestSet, BaseMetric):
    """Errors of the best of K predicted tracks, on the hardest tracks, on the rest and on all, in meters.

    ==================================  ===========================================================================
    ``ade_top1``, ``fde_top1``, ...     the hardest percent of the tracks, and so on for each of ``percents``
    ``ade_rest``, ``fde_rest``          all but the largest of ``percents``
    ``ade_all``, ``fde_all``            all
    ``fde_<kind>``                      tracks of a kind, where the data set names kinds
    ==================================  ===========================================================================

    ADE is the mean distance over the steps, FDE the distance at the last one; each is that of its own best prediction.
    FEND ranks by the FDE of a trained baseline: write it with ``errors_out`` in a test of the baseline, and rank by the
    file.

    Args:
        percents: Of the hardest tracks, rising.
        ranking: A .npy file with the hardness of each track by ``sample_idx``; by default that of the data set, by a
            Kalman filter.
        errors_out: Write the FDE of each track by ``sample_idx`` to this .npy file.
        **kwargs: See MMEngine's ``BaseMetric``.
    """

    default_prefix = 'trajectory'

    def __init__(
        self,
        percents: Sequence[int] = (1, 2, 3, 4, 5),
        ranking: str | None = None,
        errors_out: str | None = None,
        **kwargs: Any,
    ) -> None:
        check(percents=(percents, 'a list of int >= 1'))
        if list(percents) != sorted({*percents}) or percents[-1] > 100:
            raise InputError(f'Expected `percents` to rise up to 100, but got {percents}.')
        super().__init__(**kwargs)
        self.percents, self.errors_out = tuple(percents), errors_out
        self.ranking = None if ranking is None else read_array(ranking)
        if self.ranking is not None and self.ranking.ndim != 1:
            raise InputError(f'Expected `ranking` to hold one number per track, but got shape {self.ranking.shape}.')

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store the errors of each track.

        Args:
            data_batch: Not used.
            data_samples: Dictionaries with ``prediction`` (K, H, 2), ``future`` (H, 2), ``hardness``, ``sample_idx``
                and perhaps ``kind``.
        """
        prediction, future = (
            torch.stack([sample[name] for sample in data_samples]) for name in ('prediction', 'future')
        )
        errors = torch.stack(min_ade_fde(prediction.float(), future.float()), dim=1).tolist()
        for sample, (ade, fde) in zip(data_samples, errors):
            kind = int(sample.get('kind', -1))
            self.results.append((int(sample['sample_idx']), ade, fde, float(sample['hardness']), kind))

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """Compute the figures.

        Args:
            results: See :meth:`process`, from all ranks.
        """
        index, ade, fde, hardness, kind = map(np.array, zip(*results))
        if self.errors_out is not None:
            errors = np.full(index.max() + 1, np.nan)
            errors[index] = fde
            np.save(self.errors_out, errors)
        if self.ranking is not None:
            if len(self.ranking) != index.max() + 1:
                raise InputError(
                    f'Expected `ranking` to hold a number per track ({index.max() + 1}), but got {len(self.ranking)}.'
                )
            hardness = self.ranking[index]
            if not np.isfinite(hardness).all():
                missing = index[~np.isfinite(hardness)][0]
                raise InputError(f'Expected `ranking` to have a finite number for each track, but not for {missing}.')
        masks = {f'top{percent}': hardest(hardness, percent / 100) for percent in self.percents}
        masks |= dict(rest=~masks[f'top{self.percents[-1]}'], all=np.ones(len(fde), dtype=bool))
        figures = {
            f'{name}_{group}': float(errors[mask].mean())
            for group, mask in masks.items()
            for name, errors in dict(ade=ade, fde=fde).items()
            if mask.any()
        }
        for k, name in enumerate((self.dataset_meta or {}).get('kinds', ())):
            if (kind == k).any():
                figures[f'fde_{name}'] = float(fde[kind == k].mean())
        return figures
