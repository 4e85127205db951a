"""Columns of an annotation file: boxes, categories, images, and the json text of masks."""

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ltmm.datasets.labels.lvis_annotations import MAX_ID, check_records
from ltmm.datasets.labels.lvis_masks import find_invalid_mask, may_exceed_limit
from ltmm.utils.data_files import DataFileError

__all__ = ['Annotations', 'UncacheableError', 'write_columns']

VERSION = 1
CROWD, IGNORED = 1, 2  # bits of `flags`
COLUMNS = dict(
    image_id=np.int64,
    image_size=np.float64,  # (N, 2): width, height
    image_end=np.int64,  # in `image_json`
    first=np.int64,  # (N + 1,): objects of image i are first[i]:first[i + 1]
    image=np.int32,  # (M,): row of its image
    category=np.int32,  # (M,): row of its category
    box=np.float64,  # (M, 4): x, y, w, h
    area=np.float64,
    flags=np.uint8,
    drop=np.uint8,  # index in DROPPED
    mask=np.int64,  # (M, 2): start and end in `mask_json`
)
SHAPES = dict(image_size=2, box=4, mask=2)
TEXTS = ('image_json', 'mask_json')
# Why mmdet does not train on an object, see `why_dropped`.
DROPPED = (None, 'of area 0', 'less than a pixel wide or high', 'outside their image')
META = 'meta.json'
STEP = 1 << 18  # objects per step where columns are computed from each other


class UncacheableError(ValueError):
    """A file whose content has no columns, such as one with texts as ids; it has to be read in another way."""


class Annotations:
    """Read-only view of the columns in a folder: memory-mapped, so processes share them. Pickles as its path.

    Args:
        folder: Folder that :func:`write_columns` filled.

    Raises:
        ValueError: A file is missing, of another size or of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        try:
            self.meta = json.loads((self.folder / META).read_text())
            sizes = {name: (self.folder / name).stat().st_size for name in self.meta['sizes']}
        except (OSError, KeyError, TypeError, ValueError) as e:
            raise ValueError(f'{folder} is incomplete ({e})') from None
        if self.meta.get('version') != VERSION or sizes != self.meta['sizes']:
            raise ValueError(f'{folder} is incomplete or of another version')
        for name, dtype in COLUMNS.items():
            column = self._map(name, dtype)
            setattr(self, name, column.reshape(-1, SHAPES[name]) if name in SHAPES else column)
        self._texts = {name: self._map(name, np.uint8) for name in TEXTS}

    def __reduce__(self) -> tuple:
        return Annotations, (self.folder,)

    def __len__(self) -> int:
        return len(self.image_id)

    @cached_property
    def category_ids(self) -> list[int]:
        """Id of each row of categories."""
        return [cat['id'] for cat in self.meta['categories']]

    def image_record(self, row: int) -> dict:
        """Return the dictionary of an image, as in the file."""
        start = int(self.image_end[row - 1]) if row else 0
        return self._json('image_json', start, int(self.image_end[row]))

    def object_records(self, row: int) -> list[dict]:
        """Return what mmdet reads of the objects of an image: bbox, area, category_id, iscrowd, ignore, segmentation.

        Numbers of boxes are floats; masks are as in the file.
        """
        start, end = self.first[row : row + 2].tolist()
        columns = (self.box, self.area, self.category, self.flags, self.mask)
        records = []
        for box, area, category, flags, (left, right) in zip(*(column[start:end].tolist() for column in columns)):
            record = dict(
                bbox=box,
                area=area,
                category_id=self.category_ids[category],
                iscrowd=flags & CROWD,
                ignore=bool(flags & IGNORED),
            )
            if right > left:
                record['segmentation'] = self._json('mask_json', left, right)
            records.append(record)
        return records

    def _json(self, name: str, start: int, end: int) -> Any:
        import orjson

        try:
            return orjson.loads(self._texts[name][start:end].data)
        except orjson.JSONDecodeError as e:
            raise DataFileError(
                f'{self.folder / name} is invalid json from byte {start} ({e}), copied from the annotation file. '
                f'Correct that file; if it is valid, remove {self.folder}.'
            ) from None

    def _map(self, name: str, dtype: Any) -> np.ndarray:
        path = self.folder / name
        return np.memmap(path, dtype, 'r') if path.stat().st_size else np.zeros(0, dtype)


def write_columns(blocks: Iterable[tuple[str, list[dict]]], folder: Path) -> None:
    """Write the columns of an annotation file, a block at a time.

    Args:
        blocks: Pairs of 'images', 'annotations', 'categories' or another key, and some of its records.
        folder: Empty folder to fill.

    Raises:
        UncacheableError: An id is not an integer.
        KeyError, TypeError, ValueError: Records are invalid, see :func:`read_lvis_annotations` for what is wrong.
    """
    import orjson

    categories: list[dict] = []
    seen = set()
    with ExitStack() as stack:
        names = [*COLUMNS, *TEXTS, 'annotation_id', 'image_of', 'category_of', 'codes']
        files = {name: stack.enter_context(open(folder / name, 'wb')) for name in names}

        def write(name: str, values: list, dtype: Any) -> None:
            _numbers(values).astype(dtype).tofile(files[name])

        ends = dict.fromkeys(TEXTS, 0)

        def write_texts(name: str, values: list) -> np.ndarray:
            """Write values as json, unless they are texts in bytes; return where each ends."""
            texts = [value if isinstance(value, bytes) else orjson.dumps(value) for value in values]
            files[name].write(b''.join(texts))
            places = ends[name] + np.cumsum([len(text) for text in texts])
            ends[name] = int(places[-1])
            return places

        invalid_mask, num_objects = None, 0
        for key, records in blocks:
            seen.add(key)
            if key == 'categories':
                categories += records
            elif key == 'images':
                write('image_id', _ids(records, 'id'), np.int64)
                write('image_size', [(image['width'], image['height']) for image in records], np.float64)
                write_texts('image_json', records).tofile(files['image_end'])
            elif key == 'annotations':
                write('annotation_id', _ids(records, 'id'), np.int64)
                write('image_of', _ids(records, 'image_id'), np.int64)
                write('category_of', _ids(records, 'category_id'), np.int64)
                masks = [ann.get('segmentation') or b'' for ann in records]
                boxes = _numbers([ann['bbox'] for ann in records]).astype(np.float64)
                if boxes.shape != (len(records), 4):
                    raise ValueError('boxes are not four numbers')
                boxes.tofile(files['box'])
                areas = [ann.get('area') if mask else ann.get('area') or np.nan for ann, mask in zip(records, masks)]
                areas = _numbers(areas).astype(np.float64)
                np.where(np.isnan(areas), boxes[:, 2:].clip(0).prod(1), areas).tofile(files['area'])
                crowd, ignored = (np.array([ann.get(key) for ann in records], bool) for key in ('iscrowd', 'ignore'))
                (CROWD * crowd + IGNORED * ignored).astype(np.uint8).tofile(files['flags'])
                start = ends['mask_json']
                places = write_texts('mask_json', masks)
                np.stack([np.r_[start, places[:-1]], places], 1).tofile(files['mask'])
                codes = [i for i, mask in enumerate(masks) if not isinstance(mask, (list, bytes))]
                (num_objects + np.array(codes, np.int64)).tofile(files['codes'])
                invalid_mask = invalid_mask or _invalid_polygons(records, masks)
                num_objects += len(records)
    if not {'images', 'annotations', 'categories'} <= seen:
        raise ValueError('images, annotations or categories are missing or empty')
    invalid_mask = invalid_mask or _invalid_code(folder)
    _link(folder, categories)
    _check_images(folder, categories)
    for name in ('annotation_id', 'image_of', 'category_of', 'codes'):
        (folder / name).unlink()
    sizes = {name: (folder / name).stat().st_size for name in (*COLUMNS, *TEXTS)}
    meta = dict(version=VERSION, categories=categories, invalid_mask=invalid_mask, sizes=sizes)
    (folder / META).write_text(json.dumps(meta))


def _invalid_polygons(records: list[dict], masks: list) -> tuple[int, str] | None:
    """Return the id of the first object whose polygons are invalid, or else whose mask is missing, and the problem.

    Polygons as texts are parsed only where one of them may be invalid.
    """
    import orjson

    if may_exceed_limit(b''.join([mask for mask in masks if isinstance(mask, bytes)])):
        masks = [orjson.loads(mask or b'null') if isinstance(mask, bytes) else mask for mask in masks]
    polygons = [i for i, mask in enumerate(masks) if isinstance(mask, list)]
    found = find_invalid_mask([masks[i] for i in polygons], [(0, 0)] * len(polygons))
    if found:
        return records[polygons[found[0]]]['id'], found[1]
    missing = next((record for record, mask in zip(records, masks) if not mask), None)
    return missing and (missing['id'], 'is missing')


def _ids(records: list[Mapping], key: str) -> np.ndarray:
    ids = np.array([record[key] for record in records])
    if ids.dtype != np.int64 or ids.ndim != 1:  # texts, fractions, or beyond 64 bits
        raise UncacheableError(f'{key!r} is not an integer everywhere')
    return ids


def _numbers(values: list) -> np.ndarray:
    array = np.array(values)
    if array.dtype.kind not in 'fiub':
        raise ValueError('not numbers')
    return array


def _read(folder: Path, name: str, dtype: Any = np.int64) -> np.ndarray:
    path = folder / name
    column = np.memmap(path, dtype, 'r+') if path.stat().st_size else np.zeros(0, dtype)
    return column.reshape(-1, SHAPES[name]) if name in SHAPES else column


def _link(folder: Path, categories: list[dict]) -> None:
    """Find the rows of images and categories, sort objects by image, and tell which mmdet drops."""
    image_id = _read(folder, 'image_id')
    category_id = _ids(categories, 'id')
    for ids, kind in ((image_id, 'images'), (_read(folder, 'annotation_id'), 'annotations'), (category_id, '')):
        ordered = np.sort(ids)
        if (ordered[1:] == ordered[:-1]).any():
            raise ValueError(f'duplicate ids of {kind or "categories"}')
    image = _rows(image_id, _read(folder, 'image_of'))
    category = _rows(category_id, _read(folder, 'category_of'))
    first = np.r_[0, np.cumsum(np.bincount(image, minlength=len(image_id)))]
    first.astype(np.int64).tofile(folder / 'first')
    if (image[1:] < image[:-1]).any():  # a file of LVIS or COCO is not sorted
        order = np.argsort(image, kind='stable')
        image, category = image[order], category[order]
        for name in ('box', 'area', 'flags', 'mask'):
            column = _read(folder, name, COLUMNS[name])
            with open(folder / f'{name}.sorted', 'wb') as file:
                for start in range(0, len(order), STEP):
                    column[order[start : start + STEP]].tofile(file)
            del column
            (folder / f'{name}.sorted').replace(folder / name)
    image.tofile(folder / 'image')
    category.tofile(folder / 'category')
    box, area = _read(folder, 'box', np.float64), _read(folder, 'area', np.float64)
    size = _read(folder, 'image_size', np.float64)
    with open(folder / 'drop', 'wb') as file:
        for start in range(0, len(image), STEP):
            part = slice(start, start + STEP)
            _drop(box[part], area[part], size[image[part]]).tofile(file)


def _rows(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the row in ``ids`` of each wanted one, int32."""
    order = np.argsort(ids, kind='stable')
    if len(ids) == 0:
        if len(wanted):
            raise ValueError('an object without image or category')
        return np.zeros(0, np.int32)
    ids = ids[order]
    rows = np.empty(len(wanted), np.int32)
    for start in range(0, len(wanted), STEP):
        part = wanted[start : start + STEP]
        places = np.searchsorted(ids, part).clip(max=len(ids) - 1)
        if (ids[places] != part).any():
            raise ValueError('an object of an unknown image or category')
        rows[start : start + STEP] = order[places]
    return rows


def _drop(box: np.ndarray, area: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return the index in DROPPED of each object, (M,); boxes (M, 4), areas (M,), width and height of images (M, 2)."""
    if not (np.isfinite(box).all() and (area >= 0).all() and (area <= MAX_ID).all()):
        raise ValueError('a box or an area is not finite')
    outside = (np.minimum(box[:, :2] + box[:, 2:], size) <= box[:, :2].clip(min=0)).any(1)
    return np.select([area <= 0, (box[:, 2:] < 1).any(1), outside], [1, 2, 3], 0).astype(np.uint8)


def _check_images(folder: Path, categories: list[dict]) -> None:
    """Check the records of images and categories, a block at a time."""
    import orjson

    ends = [0, *_read(folder, 'image_end').tolist()]
    with open(folder / 'image_json', 'rb') as file:
        for start in range(0, len(ends) - 1, 10_000):
            block = ends[start : start + 10_001]
            text = file.read(block[-1] - block[0])
            images = [orjson.loads(text[a - block[0] : b - block[0]]) for a, b in pairwise(block)]
            check_records(dict(images=images, annotations=[], categories=categories), 'the file')
    if len(ends) == 1:
        check_records(dict(images=[], annotations=[], categories=categories), 'the file')


def _invalid_code(folder: Path) -> tuple[int, str] | None:
    """Return the id of the first object whose run-length code is invalid, and the problem."""
    import orjson

    rows = _read(folder, 'codes')
    if not len(rows):
        return None
    image = _rows(_read(folder, 'image_id'), _read(folder, 'image_of')[rows])
    size = _read(folder, 'image_size', np.float64)[image][:, ::-1].astype(int)
    ids = _read(folder, 'annotation_id')[rows]
    lengths = _read(folder, 'mask')[rows]
    with open(folder / 'mask_json', 'rb') as file:
        for start in range(0, len(rows), 4096):
            masks = []
            for left, right in lengths[start : start + 4096].tolist():
                file.seek(left)
                masks.append(orjson.loads(file.read(right - left)))
            found = find_invalid_mask(masks, size[start : start + 4096].tolist())
            if found:
                return int(ids[start + found[0]]), found[1]
    return None
