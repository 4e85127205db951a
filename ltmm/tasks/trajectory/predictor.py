"""The model: encoder, decoder, EWTA, and the contrast of FEND where it has one."""

import math
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor, BaseModel
from torch import Tensor, nn

from ltmm.models.losses.contrastive.projection import projector
from ltmm.models.state.key_encoder import KeyEncoder
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['TrajectoryDataPreprocessor', 'TrajectoryNetwork', 'TrajectoryPredictor']


@MODELS.register_module()
class TrajectoryDataPreprocessor(BaseDataPreprocessor):
    """Moves tracks to the device, and in training turns each by a random angle, so that headings have no tail.

    Args:
        rotate: Turn the tracks of the training.
        **kwargs: See MMEngine's ``BaseDataPreprocessor``.
    """

    def __init__(self, rotate: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rotate = rotate

    def forward(self, data: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Prepare a batch of ``past`` (B, T, 4), ``future`` (B, H, 2) and values per track."""
        data = super().forward(data, training)
        if not (training and self.rotate):
            return data
        past, future = data['past'], data['future']
        angle = 2 * math.pi * torch.rand(len(past), device=past.device, dtype=past.dtype)
        cos, sin = angle.cos(), angle.sin()
        rotation = torch.stack([cos, sin, -sin, cos], dim=1).view(-1, 2, 2)
        past = torch.cat([past[..., :2] @ rotation, past[..., 2:] @ rotation], dim=-1)
        return data | dict(past=past, future=future @ rotation)


class TrajectoryNetwork(nn.Module):
    """Encoder, decoder, and the projector of the contrast.

    Args:
        encoder: Maps observed states to an encoding.
        decoder: Maps it to K futures.
        projector: Of the contrast; None without.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, projector: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder, self.decoder, self.projector = encoder, decoder, projector

    def forward(self, past: Tensor) -> Tensor:
        """Compute the projected features, (B, D).

        Args:
            past: Positions and velocities, (B, T, 4).
        """
        return self.projector(self.decoder.feature(self.encoder(past), past[:, -1]))


@MODELS.register_module()
class TrajectoryPredictor(BaseModel):
    """Predicts several futures of an observed track; with ``contrast`` it is FEND, made for rare manoeuvres.

    Args:
        encoder: Config of the encoder.
        decoder: Config of the decoder; ``in_channels`` follows from the encoder.
        loss: Config of the loss of the predictions.
        contrast: Config of :class:`PrototypeContrast`, whose ``feat_dim`` follows from the decoder; None for none.
        projector_layers: Linear layers between the features and the contrast.
        momentum: Of the copy of the network that gives the features of the prototypes, updated once per epoch.
        data_preprocessor: See MMEngine's ``BaseModel``.
        init_cfg: See MMEngine's ``BaseModel``.
    """

    def __init__(
        self,
        encoder: dict,
        decoder: dict,
        loss: dict,
        contrast: dict | None = None,
        projector_layers: int = 2,
        momentum: float = 0.9,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        check(momentum=(momentum, 'in (0, 1)'), projector_layers=(projector_layers, 'int >= 1'))
        super().__init__(data_preprocessor, init_cfg)
        encoder = MODELS.build(encoder)
        decoder = MODELS.build(decoder | dict(in_channels=encoder.out_channels))
        self.network, self.loss_module = TrajectoryNetwork(encoder, decoder), MODELS.build(loss)
        self.contrast = self.momentum_network = None
        if contrast is not None:
            width = decoder.feature_channels
            self.contrast = MODELS.build(contrast | dict(feat_dim=width))
            self.network.projector = projector(width, width, projector_layers)
            self.momentum_network = KeyEncoder(self.network, momentum)

    def forward(
        self,
        past: Tensor,
        future: Tensor | None = None,
        hardness: Tensor | None = None,
        kind: Tensor | None = None,
        sample_idx: Tensor | None = None,
        mode: str = 'tensor',
    ) -> Tensor | dict[str, Tensor] | list[dict[str, Tensor]]:
        """Predict futures in meters, (B, K, H, 2), or compute the losses, or return a dictionary per track.

        Args:
            past: Positions relative to the last one and velocities, in m and m / s, (B, T, 4).
            future: Positions, (B, H, 2).
            hardness: In meters, (B,).
            kind: Index of the manoeuvre, (B,); passed on to the metric.
            sample_idx: Index of the track in the data set, (B,).
            mode: ``'tensor'``, ``'loss'`` or ``'predict'``.
        """
        if mode not in ('tensor', 'loss', 'predict'):
            raise InputError(f"Expected `mode` to be 'tensor', 'loss' or 'predict', but got {mode!r}.")
        encoding = self.network.encoder(past)
        feature = self.network.decoder.feature(encoding, past[:, -1])
        prediction = self.network.decoder(encoding, feature)
        if mode == 'tensor':
            return prediction
        if mode == 'predict':
            given = dict(future=future, hardness=hardness, kind=kind, sample_idx=sample_idx, past=past)
            given = {name: value for name, value in given.items() if value is not None}
            return [
                dict(prediction=one, **{name: value[i] for name, value in given.items()})
                for i, one in enumerate(prediction)
            ]
        losses = dict(loss_ewta=self.loss_module(prediction, future))
        if self.contrast is not None:
            losses |= self.contrast(self.network.projector(feature), hardness, sample_idx)
            if self.contrast.collects:
                self._collect(past, sample_idx)
        return losses

    @torch.no_grad()
    def _collect(self, past: Tensor, sample_idx: Tensor) -> None:
        features = nn.functional.normalize(self.momentum_network(past), dim=1)
        self.contrast.features.write(sample_idx, features)

    def start_epoch(self, past: Tensor, future: Tensor, seed: int) -> None:
        """Cluster the tracks if it is time, update the momentum copy, compute the prototypes.

        Args:
            past: Positions of all tracks of the training set, (N, T, 2).
            future: (N, H, 2).
            seed: Of the training.
        """
        if self.contrast is None:
            return
        if self.contrast.needs_clusters(len(past)):
            self.contrast.set_tracks(past, future, seed)
        if self.contrast.copies:
            self.momentum_network.update(self.network)
        self.contrast.fit_prototypes()
