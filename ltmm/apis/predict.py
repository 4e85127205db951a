"""Predictions for images, batch by batch."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import default_collate, pseudo_collate
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader

from ltmm.datasets.images import MAX_NAMES, REMEDY, ImageError
from ltmm.utils.checks import check

from .image_files import ImageFiles
from .outputs import check_out, shared_folder, write_csv, write_drawing, write_json
from .predictions import predictions_of
from .trained_model import TrainedModel

__all__ = ['predict_batch', 'predict_images', 'run_predictions']

MAX_LINES = 20  # images shown on the console


@torch.no_grad()
def predict_batch(trained: TrainedModel, inputs: Sequence[dict]) -> list[Any]:
    """Return the predictions for packed images, in order; images of a classifier that differ in size are not padded."""
    if trained.task == 'detection':
        return trained.model.test_step(pseudo_collate(inputs))
    groups: dict[tuple, list[int]] = {}
    for i, item in enumerate(inputs):
        groups.setdefault(tuple(item['inputs'].shape), []).append(i)
    samples: dict[int, Any] = {}
    for group in groups.values():
        samples |= zip(group, trained.model.test_step(default_collate([inputs[i] for i in group])))
    return [samples[i] for i in range(len(inputs))]


def predict_images(
    trained: TrainedModel, data: ImageFiles, batch_size: int = 16, num_workers: int = 2, max_broken: int = 0
) -> Iterator[tuple[int, Any, np.ndarray | None]]:
    """Yield index, prediction and, if kept, the image itself, with a progress bar.

    Args:
        trained: The model.
        data: The images.
        batch_size: Images in a batch.
        num_workers: Processes that load images; none for a single batch.
        max_broken: How many broken images are left out, with a warning; one more is an error.
    """
    check(batch_size=(batch_size, 'int >= 1'), workers=(num_workers, 'int >= 0'), skip_broken=(max_broken, 'int >= 0'))
    workers = num_workers if len(data) > batch_size else 0
    loader = DataLoader(data, batch_size, num_workers=workers, collate_fn=list)
    broken: list[str] = []
    for batch in track(loader, 'Predicting', console=Console(file=sys.stderr)):
        broken += [inputs for _, inputs, _ in batch if isinstance(inputs, str)]
        if len(broken) > max_broken:
            raise ImageError(' '.join([*broken[:MAX_NAMES], REMEDY]))
        whole = [item for item in batch if not isinstance(item[1], str)]
        samples = predict_batch(trained, [inputs for _, inputs, _ in whole]) if whole else []
        yield from ((index, sample, image) for (index, _, image), sample in zip(whole, samples))
    if broken:
        names = '\n'.join(broken[:MAX_NAMES])
        print(f'{len(broken)} of {len(data)} images are left out as they are broken:\n{names}', file=sys.stderr)


def run_predictions(
    trained: TrainedModel,
    paths: Sequence[Path],
    outs: Sequence[Path] = (),
    about: dict[str, Any] | None = None,
    overwrite: bool = False,
    size: tuple[int, int] | None = None,
    options: dict[str, Any] | None = None,
    **loading: Any,
) -> list[dict[str, Any]]:
    """Predict images, write or print the predictions, and return the records.

    Args:
        trained: The model.
        paths: The images.
        outs: .json and .csv files, folders for drawings. Without any, the first predictions are printed.
        about: What a .json file says beside the predictions.
        overwrite: Write over files that exist.
        size: See :class:`ImageFiles`.
        options: See :func:`predictions_of`.
        loading: See :func:`predict_images`.
    """
    for out in outs:
        check_out(out, overwrite)
    predictions = predictions_of(trained, **(options or {}))
    folders = [out for out in outs if not out.suffix]
    records, shared = [], shared_folder(paths)
    for index, sample, image in predict_images(trained, ImageFiles(paths, trained.cfg, size, bool(folders)), **loading):
        records.append(predictions.record(str(paths[index]), sample))
        for folder in folders:
            write_drawing(folder, paths[index], shared, predictions.draw(image, sample))
    for out in outs:
        if out.suffix == '.json':
            write_json(out, records, about or {})
        elif out.suffix == '.csv':
            write_csv(out, records, predictions)
    for record in [] if outs else records[:MAX_LINES]:
        print(predictions.line(record))
    if not outs and len(records) > MAX_LINES:
        print(f'... {len(records)} images; --out predictions.csv writes all')
    return records
