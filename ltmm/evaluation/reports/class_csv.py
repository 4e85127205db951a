"""CSV files of figures, a row a class: how the reports write and read them."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import MMLogger

from ltmm.utils.atomic_backend import AtomicLocalBackend

__all__ = ['class_csv', 'read_class_csv', 'write_beside_log']


def class_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]], figures: np.ndarray) -> str:
    """The text of a CSV file; a figure that does not exist (NaN) is left empty.

    Args:
        columns: names of all columns, those of the figures last.
        rows: label first, and what else is known of each class, in the order of the file.
        figures: of each class, in label order, (C, F).
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(columns)
    for row in rows:
        writer.writerow([*row, *('' if np.isnan(figure) else f'{figure:.4f}' for figure in figures[row[0]])])
    return text.getvalue()


def read_class_csv(path: str | Path, columns: Sequence[str], kind: str) -> list[dict[str, str]]:
    """The rows of a file that :func:`class_csv` describes, in label order.

    Args:
        path: the file.
        columns: names of all columns.
        kind: what such a file is called, for the message.

    Raises:
        ValueError: another file.
    """
    with open(path, newline='', encoding='utf-8') as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != tuple(columns):
            raise ValueError(f'Expected {path} to have the columns {", ".join(columns)}; is it {kind}?')
        rows = sorted(reader, key=lambda row: int(row['label']))
    if not rows:
        raise ValueError(f'Expected {path} to hold a row a class, but it has none.')
    return rows


def write_beside_log(name: str | None, text: Callable[[], str]) -> None:
    """Write ``text()`` beside the log, where there is one and ``name`` is given; a full disk is only warned of."""
    logger = MMLogger.get_current_instance()
    if name is None or logger.log_file is None:
        return
    path = Path(logger.log_file).parent / name
    try:
        AtomicLocalBackend().put(text().encode(), path)
    except OSError as e:
        logger.warning(f'Cannot write the figures of each class to {path}: {e.strerror}.')
