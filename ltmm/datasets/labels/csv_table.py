"""Reader of the cells of CSV files, of any usual delimiter and encoding."""

import csv
import logging
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Sequence
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.logging import print_log

from ltmm.datasets.image_paths import IMAGE_SUFFIXES
from ltmm.utils.data_files import DataFileError, decode_text, guess_encoding
from ltmm.utils.errors import InputError, did_you_mean

__all__ = ['CSVTable', 'read_csv', 'shorten']

DELIMITERS = ',;\t'
SHOWN = 5  # values in a message


def shorten(text: str) -> str:
    """Cut a text of a file to the length of a message."""
    return text if len(text) <= 60 else f'{text[:60]}...'


class CSVTable(NamedTuple):
    """Cells of a CSV file.

    Args:
        path: The file.
        columns: Names of the columns, from the header, or their numbers from 1.
        rows: Cells of each row, without surrounding blanks.
        lines: Line of the file in which each row ends.
    """

    path: Path
    columns: list[str]
    rows: list[list[str]]
    lines: list[int]

    def index(self, column: str) -> int:
        """Return the index of a column."""
        if column not in self.columns:
            names = ', '.join(self.columns[:20]) + ', ...' * (len(self.columns) > 20)
            raise InputError(
                f'{self.path} has no column {column!r}.{did_you_mean(column, self.columns)} It has {names}.'
            )
        return self.columns.index(column)

    def where(self, **values: str | Sequence[str]) -> 'CSVTable':
        """Select the rows with these values, ``column='value'`` or ``column=[...]``."""
        rows = range(len(self.rows))
        for column, wanted in values.items():
            i, wanted = self.index(column), _texts(wanted)
            found = {self.rows[row][i] for row in rows}
            rows = [row for row in rows if self.rows[row][i] in wanted]
            if not rows:
                known = ', '.join(sorted(found)[:SHOWN])
                raise InputError(f'{self.path}: no row has {sorted(wanted)} in the column {column!r}, only {known}.')
        return self.take(rows)

    def take(self, rows: Sequence[int]) -> 'CSVTable':
        """Select rows by index."""
        return self._replace(rows=[self.rows[i] for i in rows], lines=[self.lines[i] for i in rows])


def read_csv(
    path: str | Path, delimiter: str | None = None, encoding: str | None = None, header: bool | None = None
) -> CSVTable:
    """Read a CSV file; every row has to have as many cells as the first.

    Args:
        path: Path of the file.
        delimiter: Character between the cells. Default: the one of comma, semicolon and tab that gives columns.
        encoding: Encoding. Default: UTF-8 with or without byte order mark, else a guess, with a warning.
        header: Whether the first row names the columns. Default: unless a cell of it is the file name of an image, or
            all but the first are also in other rows.

    Raises:
        FileNotFoundError: The file does not exist.
        DataFileError: A row has another number of cells, or the file has another encoding.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'CSV file {path.absolute()} '
            + ('is a folder: name the file in it.' if path.is_dir() else 'does not exist.')
        )
    text = _decode(path, encoding)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise InputError(f'Expected `delimiter` to be one character, but got {delimiter!r}.')
    delimiter = delimiter or max(DELIMITERS, key=lambda d: _num_columns(text, d))
    rows, lines = [], []
    reader = csv.reader(StringIO(text, newline=''), delimiter=delimiter, skipinitialspace=True)
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append([cell.strip() for cell in row])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataFileError(f'{path}, line {reader.line_num}: {error}.') from None
    if not rows:
        raise DataFileError(f'{path} is empty.')
    num = len(rows[0])
    for row, line in zip(rows, lines):
        if len(row) != num:
            raise DataFileError(
                f'{path}, line {line}: expected {num} cells as in line {lines[0]}, but got {len(row)}: '
                f'{shorten(delimiter.join(row))}. Quote cells that hold {delimiter!r}.'
            )
    if header is None:
        header = not _is_data(rows)
    if not header:
        return CSVTable(path, [str(i + 1) for i in range(num)], rows, lines)
    repeated = [name for i, name in enumerate(rows[0]) if name and name in rows[0][:i]]
    if repeated:
        raise DataFileError(f'{path}: two columns are called {repeated[0]!r}.')
    if len(rows) == 1:
        raise DataFileError(f'{path} has a header, but no rows.')
    return CSVTable(path, rows[0], rows[1:], lines[1:])


def _decode(path: Path, encoding: str | None) -> str:
    data = path.read_bytes()
    if encoding is None and data.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):  # "Unicode text" of Excel
        encoding = 'utf-16'
    if encoding is None:
        try:
            return decode_text(data, path)
        except DataFileError:
            encoding = guess_encoding(data)
            if encoding is None:
                raise
        warning = f'{path} is not in UTF-8; it is read as {encoding}. Set `encoding` if names look wrong.'
        print_log(warning, 'current', logging.WARNING)
    try:
        return data.decode(encoding)
    except LookupError:
        raise InputError(f'There is no encoding {encoding!r}.') from None
    except UnicodeError as error:
        raise DataFileError(f'{path} is not in {encoding} ({error}).') from None


def _num_columns(text: str, delimiter: str) -> int:
    """Return the cells per row of the first rows, 1 unless they are equally many."""
    rows = csv.reader(StringIO(text, newline=''), delimiter=delimiter, skipinitialspace=True)
    try:
        numbers = {len(row) for row in islice(rows, 100) if row}
    except csv.Error:
        return 1
    return numbers.pop() if len(numbers) == 1 else 1


def _is_data(rows: list[list[str]]) -> bool:
    """Whether the first row looks like the others."""
    if any(cell.lower().endswith(IMAGE_SUFFIXES) for cell in rows[0]):
        return True
    others = [set(column) for column in zip(*rows[1:])][1:]
    return bool(others) and all(cell in values for cell, values in zip(rows[0][1:], others))


def _texts(values: Any) -> set[str]:
    return set(map(str, values)) if isinstance(values, (list, tuple, set)) else {str(values)}
