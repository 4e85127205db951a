"""Losses of trajectory prediction: evolving winner-takes-all, contrast of prototypes, contrast by hardness."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.models.losses.base import at_least_float32, divisor
from ltmm.models.losses.contrastive.supervised_contrast import supervised_contrast
from ltmm.models.state.progress import UsesProgress
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['EWTALoss', 'ewta_loss', 'prototype_contrast', 'three_modes_contrast']


def ewta_loss(prediction: Tensor, target: Tensor, num_winners: int | None) -> Tensor:
    r"""Compute the distances of the best predictions to the track, summed over steps, (B,).

    .. math:: \sum_t \sum_{k \in \text{best } n \text{ at } t} \lVert \hat y_{kt} - y_t \rVert

    Predictions that do not win get no gradient and are free to cover rare futures.

    Args:
        prediction: K predicted tracks in meters, (B, K, H, 2).
        target: The track, (B, H, 2).
        num_winners: n; None for all K.
    """
    if prediction.shape[2:] != target.shape[1:]:
        raise InputError(
            f'Expected predictions of {tuple(target.shape[1:])} steps and coordinates, as the tracks have, but got '
            f'{tuple(prediction.shape[2:])}: compare `horizon` of the decoder with that of the data set.'
        )
    distance = ((prediction - target.unsqueeze(1)).square().sum(-1) + 1e-20).sqrt()  # (B, K, H)
    if num_winners is not None:
        distance = distance.topk(min(num_winners, distance.size(1)), dim=1, largest=False).values
    return distance.sum((1, 2))


@MODELS.register_module()
class EWTALoss(UsesProgress, nn.Module):
    r"""Evolving winner-takes-all: at first all predictions learn, in the end the best; others may go to rare futures.

    See :func:`ewta_loss`. The number of winners of K predictions in epoch e, from 0, is

    .. math:: n = \max(\lfloor K / 2^{\lfloor (e + 1) / i \rfloor} \rfloor, 1)

    [0] Makansi et al., Overcoming Limitations of Mixture Density Networks: A Sampling and Fitting Framework for
        Multimodal Future Prediction, CVPR 2019. arXiv:1906.03631
    [1] github.com/ynw2021/FEND @755baad, mgcvaeEWTA_hyper_re.py, with i = 5.

    Args:
        interval: i, epochs after which the winners are halved.
    """

    def __init__(self, interval: int = 5) -> None:
        check(interval=(interval, 'int >= 1'))
        super().__init__()
        self.interval = interval

    def num_winners(self, num_predictions: int) -> int:
        """Return n of the current epoch."""
        return max(num_predictions >> (self.epoch + 1) // self.interval, 1)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """Compute the mean over the batches of all ranks.

        Args:
            prediction: In meters, (B, K, H, 2).
            target: (B, H, 2).
        """
        prediction = at_least_float32(prediction)
        loss = ewta_loss(prediction, target.to(prediction), self.num_winners(prediction.size(1)))
        return loss.sum() / divisor(len(loss), loss)

    def extra_repr(self) -> str:
        return f'interval={self.interval}'


def prototype_contrast(
    features: Tensor, prototypes: Tensor, temperatures: Tensor, cluster: Tensor, is_empty: Tensor | None = None
) -> Tensor:
    r"""Compute the cross entropy of features among prototypes, each with its own temperature, (B,).

    .. math:: -\log \frac{e^{v \cdot c_k / T_k}}{\sum_j e^{v \cdot c_j / T_j}}

    Args:
        features: v, unit vectors, (B, D).
        prototypes: c, unit vectors, (K, D).
        temperatures: T, (K,).
        cluster: k, (B,); the term of -1 is 0.
        is_empty: Prototypes that do not count, (K,).
    """
    logits = features @ prototypes.T / temperatures
    if is_empty is not None:
        logits = logits.masked_fill(is_empty, torch.finfo(logits.dtype).min)
    return F.cross_entropy(logits, cluster, reduction='none', ignore_index=-1)


def three_modes_contrast(
    features: Tensor,
    hardness: Tensor,
    temperature: float = 0.1,
    base_temperature: float = 0.07,
    near: float = 0.1,
    far: float = 2.0,
) -> Tensor:
    """Compute the contrast of tail with head by hardness, without clusters, (B,); FEND compares itself with it.

    Tracks of about the same hardness are positives, those of another are negatives, those between do not count.

    [0] Makansi et al., On Exposing the Challenging Long Tail in Future Prediction of Traffic Actors, ICCV 2021.
        arXiv:2103.12474
    [1] github.com/lmb-freiburg/Contrastive-Future-Trajectory-Prediction @197227b

    Args:
        features: Unit vectors, (B, D).
        hardness: In meters, (B,).
        temperature: Of the cosines.
        base_temperature: The loss is multiplied by ``temperature / base_temperature``.
        near: Largest difference of positives, in meters.
        far: Smallest difference of negatives.
    """
    difference = (hardness.unsqueeze(1) - hardness).abs()
    is_other = ~torch.eye(len(hardness), dtype=torch.bool, device=hardness.device)
    is_positive = (difference < near) & is_other
    logits = features @ features.T / temperature
    loss = supervised_contrast(logits, is_positive, is_positive | (difference > far))
    return temperature / base_temperature * loss
