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

from .split import Split, load_split

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
        name: Name in the figure.
    """

    def __init__(self, folder: Path, split: str, name: str) -> None:
        self.name = name
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
            :func:`ltmm.utils.parsers.add_model_options`.
    """
    found = _named_inputs(args.inputs)
    names = _checked_names([name for name, *_ in found], args.names)
    sources: list[FeatureSource] = []
    for name, (_, item, config) in zip(names, found):
        if config is None:
            sources.append(FeatureFolder(Path(item), args.split, name))
        else:
            cfg = read_config(argparse.Namespace(**vars(args) | dict(config=config)))
            sources.append(CheckpointFeatures(name, load_split(cfg, item, args.split, args.device)))
    _check_same_images(sources)
    return sources


def _named_inputs(inputs: Sequence[str]) -> list[tuple[str, str, str | None]]:
    """Return the name, the path or URL, and the config of each checkpoint; of each folder of features, without one."""
    found: list[tuple[str, str, str | None]] = []
    config = unused = None
    for item in inputs:
        path = Path(item)
        if '://' not in item and not path.exists():
            raise FileNotFoundError(f'There is no file or folder {item}.')
        if path.suffix == '.py':
            if unused is not None:
                break
            config = unused = item
        elif path.is_dir():
            found.append((path.resolve().name, item, None))
        elif config is None:
            raise InputError(f'Expected a config (.py) in front of the checkpoint {item}.')
        else:
            found.append((f'{Path(config).stem}, {path.stem}', item, config))
            unused = None
    if unused is not None:
        raise InputError(f'Expected a checkpoint behind the config {unused}.')
    return found


def _checked_names(defaults: Sequence[str], names: Sequence[str] | None) -> Sequence[str]:
    names = names or defaults
    if len(names) != len(defaults) or len(set(names)) < len(names):
        raise InputError(
            f'Expected {len(defaults)} different names, one for each checkpoint or folder, but got {", ".join(names)}. '
            'Give them by --names.'
        )
    return names


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
