"""Features of one split by several networks: of checkpoints, or from the files of ``tools/extract_features.py``."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets import FeatureDataset
from ltmm.engine.runner.model_outputs import ModelOutputs, model_outputs
from ltmm.utils.configs import read_config
from ltmm.utils.errors import InputError

from .image_sample import Split, load_split

__all__ = ['CheckpointFeatures', 'FeatureFolder', 'FeatureSource', 'open_sources']


class FeatureSource(Protocol):
    """Labels of the images of a split, (N,), the class distribution of the training data, and features on demand."""

    name: str
    label: np.ndarray
    distribution: ClassDistribution

    def features(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of these images, (len(rows), D)."""


class FeatureFolder:
    """Features that ``tools/extract_features.py`` wrote.

    Args:
        folder: Its output folder, with the split and ``train``, where the training images are counted.
        split: Name of the split.
    """

    def __init__(self, folder: Path, split: str) -> None:
        self.name = folder.resolve().name
        self.dataset = FeatureDataset(str(folder), split, in_memory=False)
        train = self.dataset if split == 'train' else FeatureDataset(str(folder), 'train', in_memory=False)
        self.label, self.distribution = self.dataset.get_gt_labels(), train.get_label_table().class_distribution()
        self.distribution.check_classes(self.dataset.metainfo['classes'], split)

    def features(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of these images, (len(rows), D)."""
        return self.dataset.__getitems__(rows.tolist())['inputs'].numpy()


@dataclass
class CheckpointFeatures:
    """Features that a classifier computes, the input of its last layer.

    Args:
        name: Name in the figure.
        split: The classifier and its data.
    """

    name: str
    split: Split

    @property
    def label(self) -> np.ndarray:
        return self.split.label

    @property
    def distribution(self) -> ClassDistribution:
        return self.split.distribution

    def features(self, rows: np.ndarray) -> np.ndarray:
        """Return the features of these images, (len(rows), D)."""
        batches = model_outputs(self.split.trained.model, self.split.loader_of(rows), with_logits=False)
        return ModelOutputs.join(batches).features.numpy()


def open_sources(args: argparse.Namespace) -> list[FeatureSource]:
    """Open features of the same images.

    Args:
        args: ``inputs``, folders of features and checkpoints, each of these behind its config or behind a checkpoint
            with the same; ``names`` or None; ``split``; and the options of
            :func:`ltmm.utils.launch.add_model_options`.
    """
    sources: list[FeatureSource] = []
    cfg = config = None
    for item in args.inputs:
        path = Path(item)
        if '://' not in item and not path.exists():
            raise FileNotFoundError(f'There is no file or folder {item}.')
        if path.is_dir():
            sources.append(FeatureFolder(path, args.split))
        elif path.suffix == '.py':
            config = path
            cfg = read_config(argparse.Namespace(**vars(args) | dict(config=str(path))))
        elif cfg is None:
            raise InputError(f'Expected a config (.py) in front of the checkpoint {item}.')
        else:
            split = load_split(cfg, item, args.split, args.device)
            sources.append(CheckpointFeatures(f'{config.stem}, {path.stem}', split))
    if not sources:
        raise InputError('Expected a checkpoint behind the config, or a folder of features.')
    for source, name in zip(sources, _names(sources, args.names)):
        source.name = name
    _check_same_images(sources)
    return sources


def _names(sources: Sequence[FeatureSource], names: Sequence[str] | None) -> list[str]:
    names = names or [source.name for source in sources]
    if len(names) != len(sources) or len(set(names)) < len(names):
        raise InputError(
            f'Expected {len(sources)} different names, one for each checkpoint or folder, but got {", ".join(names)}. '
            'Give them by --names.'
        )
    return list(names)


def _check_same_images(sources: Sequence[FeatureSource]) -> None:
    first = sources[0]
    for other in sources[1:]:
        if not np.array_equal(first.label, other.label):
            raise InputError(
                f'Expected the same images, but the labels of {first.name} ({len(first.label)}) and {other.name} '
                f'({len(other.label)}) differ.'
            )
        if not np.array_equal(first.distribution.image_counts, other.distribution.image_counts):
            raise InputError(
                f'Expected the same training images per class, but those of {first.name} and {other.name} differ: '
                'many- and few-shot would not be the same classes.'
            )
