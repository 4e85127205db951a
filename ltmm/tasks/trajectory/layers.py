"""Networks of trajectory prediction: encoder, LSTM whose weights depend on the track, decoder of several futures."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check

__all__ = ['HyperLSTMCell', 'TrajectoryDecoder', 'TrajectoryEncoder']

STATE = 4  # position and velocity


class HyperLSTMCell(nn.Module):
    r"""An LSTM cell whose gates a small network rescales for each track: rare tracks get a decoder of their own.

    .. math::
        (i, f, g, o) &= \mathrm{LayerNorm}(d_x \odot W_x x + d_h \odot W_h h + b) \\
        d_x = D_x (Z_x \hat h), \quad d_h &= D_h (Z_h \hat h), \quad b = D_b (Z_b \hat h)

    :math:`\hat h` is a linear map of a feature of the track: :attr:`hyper`, but another in the first step. [0] computes
    a cell state of the small network too, and never uses it.

    [0] github.com/ynw2021/FEND @755baad, hyperlstm.py ``HyperLSTM_re``.

    Args:
        in_channels: Width of x.
        hidden: H, width of h.
        feature_channels: Width of the feature that :math:`\hat h` is a linear map of.
        hyper_hidden: Width of :math:`\hat h`.
        hyper_channels: A quarter of the width of :math:`Z \hat h`.
    """

    def __init__(
        self, in_channels: int, hidden: int, feature_channels: int, hyper_hidden: int = 64, hyper_channels: int = 32
    ) -> None:
        super().__init__()
        self.weight_x = nn.Parameter(torch.empty(4 * hidden, in_channels))
        self.weight_h = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.hyper = nn.Linear(feature_channels, hyper_hidden)
        self.z_x = nn.Linear(hyper_hidden, 4 * hyper_channels)
        self.z_h = nn.Linear(hyper_hidden, 4 * hyper_channels)
        self.z_b = nn.Linear(hyper_hidden, 4 * hyper_channels, bias=False)
        self.d_x = nn.Linear(4 * hyper_channels, 4 * hidden, bias=False)
        self.d_h = nn.Linear(4 * hyper_channels, 4 * hidden, bias=False)
        self.d_b = nn.Linear(4 * hyper_channels, 4 * hidden)
        self.norm = nn.LayerNorm(4 * hidden)
        for weight in (self.weight_x, self.weight_h):
            nn.init.uniform_(weight, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))

    def modulation(self, hyper_h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        r"""Compute :math:`d_x`, :math:`d_h` and b of tracks, (B, 4 H) each.

        Args:
            hyper_h: :math:`\hat h`, (B, S).
        """
        return self.d_x(self.z_x(hyper_h)), self.d_h(self.z_h(hyper_h)), self.d_b(self.z_b(hyper_h))

    def forward(
        self, x: Tensor, h: Tensor, c: Tensor, modulation: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Make one step; return h and c.

        Args:
            x: Input, (B, I).
            h: Hidden state, (B, H).
            c: Cell state, (B, H).
            modulation: Of :meth:`modulation`.
        """
        d_x, d_h, b = modulation
        gates = d_x * F.linear(x, self.weight_x) + d_h * F.linear(h, self.weight_h) + b
        i, f, g, o = self.norm(gates).chunk(4, dim=1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c


@MODELS.register_module()
class TrajectoryEncoder(nn.Module):
    """An LSTM over the observed positions and velocities.

    Args:
        hidden: E, width of its last hidden state.
    """

    def __init__(self, hidden: int = 32) -> None:
        check(hidden=(hidden, 'int >= 1'))
        super().__init__()
        self.lstm = nn.LSTM(STATE, hidden, batch_first=True)

    @property
    def out_channels(self) -> int:
        """E."""
        return self.lstm.hidden_size

    def forward(self, past: Tensor) -> Tensor:
        """Encode tracks, (B, E).

        Args:
            past: Positions relative to the last one and velocities, in m and m / s, (B, T, 4).
        """
        _, (h, _) = self.lstm(past)
        return h[-1]


@MODELS.register_module()
class TrajectoryDecoder(nn.Module):
    """An LSTM that predicts K futures at once: the velocities of all K are its output and its next input.

    With ``hyper`` it is a :class:`HyperLSTMCell`, whose weights depend on the observed track.

    Args:
        in_channels: E, width of the encoding.
        hidden: Width of the hidden state.
        horizon: H, predicted steps.
        num_predictions: K.
        dt: Seconds between two steps.
        hyper: Arguments of :class:`HyperLSTMCell`, ``hyper_hidden`` and ``hyper_channels``; None for a plain LSTM.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int = 128,
        horizon: int = 12,
        num_predictions: int = 20,
        dt: float = 0.4,
        hyper: dict | None = None,
    ) -> None:
        check(in_channels=(in_channels, 'int >= 1'), hidden=(hidden, 'int >= 1'), horizon=(horizon, 'int >= 1'))
        check(num_predictions=(num_predictions, 'int >= 1'), dt=(dt, '> 0'))
        super().__init__()
        self.horizon, self.num_predictions, self.dt = horizon, num_predictions, dt
        width = in_channels + 2 * num_predictions
        self.feature_channels = width + hidden
        self.action = nn.Linear(STATE, 2)
        self.initial_h = nn.Linear(in_channels, hidden)
        self.initial_hyper: nn.Linear | None = None
        if hyper is None:
            self.cell: nn.Module = nn.LSTMCell(width, hidden)
        else:
            self.cell = HyperLSTMCell(width, hidden, self.feature_channels, **hyper)
            self.initial_hyper = nn.Linear(self.feature_channels, self.cell.hyper.out_features)
        self.velocity = nn.Linear(hidden, 2 * num_predictions)

    def feature(self, encoding: Tensor, state: Tensor) -> Tensor:
        """Return the feature of a track: encoding, first velocities, first hidden state, (B, E + 2 K + hidden).

        Args:
            encoding: (B, E).
            state: Last observed position and velocity, (B, 4).
        """
        velocity = self.action(state).repeat(1, self.num_predictions)  # (B, 2 K)
        return torch.cat([encoding, velocity, self.initial_h(encoding)], dim=1)

    def forward(self, encoding: Tensor, feature: Tensor) -> Tensor:
        """Predict positions relative to the last observed one, in meters, (B, K, H, 2).

        Args:
            encoding: (B, E).
            feature: Of :meth:`feature`.
        """
        hidden = self.initial_h.out_features
        velocity = feature[:, encoding.size(1) : -hidden]  # (B, 2 K)
        h = c = feature[:, -hidden:]
        if self.initial_hyper is not None:
            first = self.cell.modulation(self.initial_hyper(feature))
            later = self.cell.modulation(self.cell.hyper(feature))
        velocities = []
        for step in range(self.horizon):
            x = torch.cat([encoding, velocity], dim=1)
            if self.initial_hyper is None:
                h, c = self.cell(x, (h, c))
            else:
                h, c = self.cell(x, h, c, later if step else first)
            velocity = self.velocity(h)
            velocities.append(velocity)
        steps = torch.stack(velocities, dim=1).unflatten(2, (self.num_predictions, 2))  # (B, H, K, 2)
        return self.dt * steps.cumsum(1).transpose(1, 2)
