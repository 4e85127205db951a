"""Data sets of tracks: the text files of ETH and UCY, and a generator with a long tail of manoeuvres."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import force_full_init

from ltmm.datasets.files import find_folder
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.data_files import read_text
from ltmm.utils.errors import InputError

from .kalman import kalman_hardness

__all__ = ['ETHUCYDataset', 'SyntheticTrajectories', 'TrajectoryDataset', 'read_windows']

SCENES = ('eth', 'hotel', 'univ', 'zara1', 'zara2')
ETH_UCY_SOURCE = (
    'The files are those of github.com/StanfordASL/Trajectron-plus-plus, experiments/pedestrians/raw/raw/all_data.zip '
    'or, split, of datasets.zip in scripts/download_data.sh of github.com/agrimgupta92/sgan'
)


class TrajectoryDataset:
    """Base class of data sets of tracks, each observed for T steps and to be predicted for H.

    A sample holds ``past`` (T, 4), positions relative to the last observed one and velocities, ``future`` (H, 2),
    ``hardness``, by how many meters a Kalman filter misses the end, ``kind``, of the manoeuvre or -1, and
    ``sample_idx``. Collate with ``'default_collate'``. A subclass writes :meth:`load_tracks`.

    Args:
        num_observed: T.
        num_predicted: H.
        dt: Seconds between two steps.
        lazy_init: Load on first use.
    """

    kinds: Sequence[str] = ()

    def __init__(
        self, num_observed: int = 8, num_predicted: int = 12, dt: float = 0.4, lazy_init: bool = False
    ) -> None:
        check(num_observed=(num_observed, 'int >= 2'), num_predicted=(num_predicted, 'int >= 1'), dt=(dt, '> 0'))
        self.num_observed, self.num_predicted, self.dt = num_observed, num_predicted, dt
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def load_tracks(self) -> tuple[np.ndarray, np.ndarray]:
        """Return positions in meters, (N, T + H, 2), and the kind of each track, (N,)."""
        raise NotImplementedError(f'{type(self).__name__} must define load_tracks().')

    def full_init(self) -> None:
        """Load the tracks and compute velocities and hardness."""
        if self._fully_initialized:
            return
        positions, self.kind = self.load_tracks()
        last = self.num_observed - 1
        positions = positions - positions[:, last : last + 1]
        past, self.future = np.split(positions, [self.num_observed], axis=1)
        self.hardness = kalman_hardness(past, self.future, self.dt)
        self.past = np.concatenate([past, np.gradient(past, self.dt, axis=1)], axis=2)
        self._fully_initialized = True

    @property
    def metainfo(self) -> dict:
        """Names of the kinds of tracks."""
        return dict(kinds=tuple(self.kinds))

    @force_full_init
    def tracks(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions of all tracks: observed (N, T, 2), and future (N, H, 2)."""
        return self.past[..., :2], self.future

    @force_full_init
    def __len__(self) -> int:
        return len(self.past)

    @force_full_init
    def __getitem__(self, idx: int) -> dict[str, Any]:
        return dict(
            past=self.past[idx].astype(np.float32),
            future=self.future[idx].astype(np.float32),
            hardness=np.float32(self.hardness[idx]),
            kind=int(self.kind[idx]),
            sample_idx=idx,
        )


@DATASETS.register_module()
class SyntheticTrajectories(TrajectoryDataset):
    """Walks with a long tail: nearly all go straight on, few turn, stop or turn round.

    A walker has a speed around 1.3 m / s and a heading that drifts a little. A manoeuvre takes four to eight steps and
    begins between two steps before and one step after the last observation, so that not all of them can be foreseen.

    Args:
        num_tracks: N.
        shares: Of straight walks, turns by 60 to 110 degrees, stops, U-turns; their sum is 1.
        noise: Standard deviation of each position, in meters.
        seed: Another one for each split.
        **kwargs: See :class:`TrajectoryDataset`.
    """

    kinds = ('straight', 'turn', 'stop', 'u_turn')

    def __init__(
        self,
        num_tracks: int = 5000,
        shares: Sequence[float] = (0.95, 0.03, 0.015, 0.005),
        noise: float = 0.02,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        check(
            num_tracks=(num_tracks, 'int >= 1'), shares=(shares, 'a list of numbers in [0, 1]'), noise=(noise, '>= 0')
        )
        check(seed=(seed, 'int >= 0'))
        if len(shares) != len(self.kinds) or not np.isclose(sum(shares), 1):
            raise InputError(f'Expected `shares` to be {len(self.kinds)} numbers with sum 1, but got {shares}.')
        self.num_tracks, self.shares, self.noise, self.seed = num_tracks, shares, noise, seed
        super().__init__(**kwargs)

    def load_tracks(self) -> tuple[np.ndarray, np.ndarray]:
        rng, n, steps = np.random.default_rng(self.seed), self.num_tracks, self.num_observed + self.num_predicted
        ends = np.round(np.cumsum(self.shares) * n).astype(int)
        kind = rng.permutation(np.searchsorted(ends, np.arange(n), side='right').clip(max=len(self.kinds) - 1))
        start = self.num_observed + rng.integers(-3, 1, n)  # first step of the manoeuvre
        duration = rng.integers(4, 9, n)
        progress = ((np.arange(steps) - start[:, None] + 1) / duration[:, None]).clip(0, 1)  # (N, steps)
        angle = np.zeros(n)
        is_turn, is_stop, is_u_turn = (kind == k for k in (1, 2, 3))
        angle[is_turn] = np.deg2rad(rng.uniform(60, 110, is_turn.sum()))
        angle[is_u_turn] = np.deg2rad(rng.uniform(165, 195, is_u_turn.sum()))
        angle *= rng.choice([-1, 1], n)
        drift = rng.normal(0, 0.02, (n, steps)).cumsum(1)
        heading = rng.uniform(0, 2 * np.pi, (n, 1)) + drift + angle[:, None] * progress
        speed = rng.normal(1.3, 0.25, (n, 1)).clip(0.5, 2.2) * (1 - is_stop[:, None] * progress)
        velocity = speed[..., None] * np.stack([np.cos(heading), np.sin(heading)], axis=-1)
        positions = self.dt * velocity.cumsum(1)
        return positions + rng.normal(0, self.noise, positions.shape), kind


@DATASETS.register_module()
class ETHUCYDataset(TrajectoryDataset):
    """ETH and UCY: pedestrians at five places, most of whom walk straight on; one place is held out for the test.

    Reads ``<data_root>/<scene>/<split>/*.txt`` in the published form: a line per observation with frame, pedestrian,
    x and y in meters, between tabs or spaces, 10 frames or 0.4 s apart. Every window of T + H steps in which a
    pedestrian is seen throughout is a track.

    Args:
        scene: The place of the test, one of eth, hotel, univ, zara1, zara2.
        split: ``'train'``, ``'val'`` or ``'test'``.
        data_root: Folder of the scenes; by default ``eth_ucy`` under ``$LTMM_DATA_ROOT`` or ``data/``.
        frame_step: Frames between two observations.
        **kwargs: See :class:`TrajectoryDataset`.
    """

    def __init__(
        self, scene: str, split: str, data_root: str | None = None, frame_step: int = 10, **kwargs: Any
    ) -> None:
        check(scene=(scene, SCENES), split=(split, ('train', 'val', 'test')), frame_step=(frame_step, 'int >= 1'))
        self.folder = Path(data_root or find_folder(['eth_ucy'])) / scene / split
        self.frame_step = frame_step
        super().__init__(**kwargs)

    def load_tracks(self) -> tuple[np.ndarray, np.ndarray]:
        files = sorted(self.folder.glob('*.txt'))
        if not files:
            raise FileNotFoundError(f'{self.folder} has no .txt files. {ETH_UCY_SOURCE}.')
        num_steps = self.num_observed + self.num_predicted
        positions = np.concatenate([read_windows(path, num_steps, self.frame_step) for path in files])
        if not len(positions):
            raise InputError(
                f'{self.folder}: expected pedestrians seen for {num_steps} steps of {self.frame_step} frames, but got '
                'none: check `frame_step`.'
            )
        return positions, np.full(len(positions), -1)


def read_windows(path: Path, num_steps: int, frame_step: int) -> np.ndarray:
    """Read the windows of steps in which a pedestrian is seen throughout, (N, steps, 2).

    Args:
        path: A text file with frame, pedestrian, x, y.
        num_steps: Length of a window.
        frame_step: Frames between two steps.
    """
    lines = read_text(path).splitlines()
    try:
        rows = np.array([line.split() for line in lines if line.strip()], dtype=np.float64)
    except ValueError:
        rows = np.zeros((1, 0))
    if len(rows) == 0:
        return np.zeros((0, num_steps, 2))
    if rows.ndim != 2 or rows.shape[1] != 4 or not np.isfinite(rows).all():
        number = next(i for i, line in enumerate(lines, 1) if line.strip() and not _is_row(line))
        raise InputError(f'{path}, line {number}: expected frame, pedestrian, x, y, but got {lines[number - 1]!r}.')
    frame, pedestrian, position = rows[:, 0], rows[:, 1], rows[:, 2:]
    order = np.lexsort((frame, pedestrian))
    frame, pedestrian, position = frame[order], pedestrian[order], position[order]
    is_next = (np.diff(frame) == frame_step) & (np.diff(pedestrian) == 0)
    if (twice := (np.diff(frame) == 0) & (np.diff(pedestrian) == 0)).any():
        where = twice.argmax()
        raise InputError(f'{path}: pedestrian {pedestrian[where]:g} has two positions in frame {frame[where]:g}.')
    if len(frame) < num_steps:
        return np.zeros((0, num_steps, 2))
    unbroken = np.lib.stride_tricks.sliding_window_view(is_next, num_steps - 1).all(1)
    windows = np.lib.stride_tricks.sliding_window_view(position, num_steps, axis=0)  # (rows, 2, steps)
    return windows[unbroken].transpose(0, 2, 1)


def _is_row(line: str) -> bool:
    try:
        values = [float(value) for value in line.split()]
    except ValueError:
        return False
    return len(values) == 4 and bool(np.isfinite(values).all())
