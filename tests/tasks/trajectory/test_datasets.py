"""Tracks from text files and from the generator."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from ltmm.registry import DATASETS
from ltmm.tasks.trajectory import ETHUCYDataset, SyntheticTrajectories, hardest
from ltmm.utils.errors import InputError


def write(folder: Path, rows: list, separator: str = '\t', name: str = 'a.txt') -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text('\n'.join(separator.join(map(str, row)) for row in rows) + '\n', encoding='utf-8')


def walk(pedestrian: float, frames: list[int], speed: float = 1.0) -> list:
    return [(f'{frame:.1f}', pedestrian, speed * frame / 25, 2.0) for frame in frames]


@pytest.mark.parametrize('separator', ['\t', ' '])
def test_eth_ucy_windows(tmp_path: Path, separator: str):
    frames = [*range(0, 220, 10)]  # 22 steps: 3 windows
    rows = walk(1, frames) + walk(2, frames[:19]) + walk(3, [*frames[:10], *range(300, 500, 10)], speed=2)
    rng = np.random.default_rng(0)
    write(tmp_path / 'eth/train', [rows[i] for i in rng.permutation(len(rows))], separator)
    dataset = DATASETS.build(dict(type='ltmm.ETHUCYDataset', scene='eth', split='train', data_root=str(tmp_path)))
    assert len(dataset) == 3 + 1
    item = dataset[0]
    assert item['past'].shape == (8, 4) and item['future'].shape == (12, 2) and item['sample_idx'] == 0
    np.testing.assert_allclose(item['past'][:, 0], 0.4 * np.arange(-7, 1), atol=1e-6)
    np.testing.assert_allclose(item['past'][:, 2:], [[1, 0]] * 8, atol=1e-5)
    np.testing.assert_allclose(item['future'][-1], [4.8, 0], atol=1e-5)
    np.testing.assert_allclose(dataset[3]['past'][:, 2:], [[2, 0]] * 8, atol=1e-5)
    assert dataset.hardness.max() < 0.05


def test_eth_ucy_reads_all_files(tmp_path: Path):
    for name in ('a.txt', 'b.txt'):
        write(tmp_path / 'univ/val', walk(1, [*range(0, 200, 10)]), name=name)
    assert len(ETHUCYDataset('univ', 'val', data_root=str(tmp_path))) == 2


def test_eth_ucy_missing(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r'hotel/test has no \.txt files.*Trajectron-plus-plus'):
        ETHUCYDataset('hotel', 'test', data_root=str(tmp_path))


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        ([(0, 1, 2.0, 3.0), (10, 1, 2.0)], 'a.txt, line 2: expected frame, pedestrian, x, y'),
        ([(0, 1, 2.0)], 'a.txt, line 1: expected'),
        ([(0, 1, 2.0, 3.0), (10, 1, 'x', 3.0)], 'a.txt, line 2: expected'),
        ([(0, 1, 2.0, 'nan')], 'a.txt, line 1: expected'),
        ([(0, 1, 2.0, 3.0), (0, 1, 2.5, 3.0)], 'pedestrian 1 has two positions in frame 0'),
        (walk(1, [*range(0, 120, 6)]), 'seen for 20 steps of 10 frames'),
    ],
)
def test_eth_ucy_bad_files(tmp_path: Path, rows: list, message: str):
    write(tmp_path / 'eth/train', rows)
    with pytest.raises(InputError, match=re.escape(message)):
        ETHUCYDataset('eth', 'train', data_root=str(tmp_path))


def test_generator_tail():
    dataset = SyntheticTrajectories(num_tracks=1000, seed=3)
    assert np.bincount(dataset.kind).tolist() == [950, 30, 15, 5]
    assert (dataset.kind[hardest(dataset.hardness, 0.05)] > 0).mean() > 0.9
    turned = dataset.future[:, -1] - dataset.future[:, -3]
    heading = dataset.past[:, 3, :2] - dataset.past[:, 0, :2]
    cosine = (turned * heading).sum(1) / np.linalg.norm(turned, axis=1) / np.linalg.norm(heading, axis=1)
    assert (cosine[dataset.kind == 3] < -0.8).all() and (cosine[dataset.kind == 0] > 0.8).mean() > 0.99
    assert np.linalg.norm(turned[dataset.kind == 2], axis=1).max() < 0.3
    again, other = (SyntheticTrajectories(num_tracks=1000, seed=seed) for seed in (3, 4))
    np.testing.assert_array_equal(again.past, dataset.past)
    assert not np.allclose(other.past, dataset.past)
    assert dataset.metainfo == dict(kinds=('straight', 'turn', 'stop', 'u_turn'))
    assert torch.as_tensor(dataset[0]['past']).dtype == torch.float32


@pytest.mark.parametrize('change', [dict(shares=(1.0,)), dict(shares=(0.5,) * 4), dict(num_tracks=0), dict(noise=-1.0)])
def test_generator_arguments(change: dict):
    with pytest.raises(InputError):
        SyntheticTrajectories(**change)
