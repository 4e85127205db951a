"""The training, validation and test data of a config, with their labels and images."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError

from .scan import ImageFacts

__all__ = ['Part', 'load_parts']

NAMES = ('train', 'val', 'test')


@dataclass
class Part:
    """The dataset of a dataloader.

    Args:
        name: ``'train'``, ``'val'`` or ``'test'``.
        table: Labels of the samples; None if the dataset cannot be loaded.
        paths: Path of the image of each sample; empty for images in memory.
        boxes: Boxes (x1, y1, x2, y2) and the width and height of the annotation, by path.
        messages: Warnings of the dataset, or the error.
        failed: Whether the dataset cannot be loaded.
        facts: Facts on each image file, by path.
    """

    name: str
    table: LabelTable | None = None
    paths: list[str] = field(default_factory=list)
    boxes: dict[str, tuple[np.ndarray, tuple | None]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    failed: bool = False
    facts: dict[str, ImageFacts] = field(default_factory=dict)

    def labels(self) -> dict[str, tuple[int, ...]]:
        """Return the sorted labels of each image."""
        offsets, labels = self.table.offsets, self.table.labels
        return {
            path: tuple(sorted(set(labels[offsets[i] : offsets[i + 1]].tolist()))) for i, path in enumerate(self.paths)
        }


def load_parts(cfg: Mapping) -> list[Part]:
    """Build the datasets of a config; equal ones, such as validation and test set, once.

    Args:
        cfg: Config with ``train_dataloader``, ``val_dataloader`` and ``test_dataloader``; any may be missing.
    """
    configs = {name: (cfg.get(f'{name}_dataloader') or {}).get('dataset') for name in NAMES}
    if configs['train'] is None:
        raise InputError('The config has no train_dataloader.')
    parts: list[Part] = []
    for name, config in configs.items():
        if config is not None and not (name == 'test' and config == configs['val']):
            with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
                parts.append(_load(name, config))
    if parts[0].failed:
        raise InputError(parts[0].messages[-1])
    return parts


def _load(name: str, config: Any) -> Part:
    part, records = Part(name), []
    handler = _Collect(part.messages)
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    others = [other for other in logger.handlers if other is not handler]
    for other in others:  # the report has the messages
        logger.removeHandler(other)
    try:
        dataset = DATASETS.build(config)
        part.table = LabelTable.from_dataset(dataset)
        records = map(dataset.get_data_info, range(len(dataset)))
        _read_records(part, records)
    except (InputError, OSError) as error:
        part.messages.append(' '.join(str(error).split()))
        part.failed = True
    finally:
        logger.removeHandler(handler)
        for other in others:
            logger.addHandler(other)
    return part


def _read_records(part: Part, records: Any) -> None:
    boxes = defaultdict(list)
    sizes = {}
    for record in records:
        path = record.get('img_path')
        if not isinstance(path, str) or '://' in path:
            continue
        part.paths.append(path)
        if 'instances' in record:
            boxes[path] += [item['bbox'] for item in record['instances'] if 'bbox' in item]
            sizes[path] = (record['width'], record['height']) if 'width' in record else None
    part.boxes = {path: (np.array(rows, dtype=float).reshape(-1, 4), sizes[path]) for path, rows in boxes.items()}


class _Collect(logging.Handler):
    """Collects warnings."""

    def __init__(self, messages: list[str]) -> None:
        super().__init__(logging.WARNING)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())
