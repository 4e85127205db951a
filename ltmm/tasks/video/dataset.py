"""Videos as feature files, one per video, with the lists of VideoLT and SSv2-LT."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ltmm.datasets.feature_dataset import FeatureDataset
from ltmm.datasets.files import find_folder, missing_images
from ltmm.datasets.list_file import read_list_file
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.data_files import read_array, read_json, read_text
from ltmm.utils.errors import InputError

__all__ = ['VideoFeatureDataset', 'pick_frames', 'read_class_names', 'read_ssv2_list']

VIDEO_SUFFIXES = ('.mp4', '.webm', '.avi', '.mkv', '.mov', '.npy')


def read_class_names(path: Path) -> list[str]:
    """Read class names in label order: one per line, or the ``{name: label}`` of Something-Something's labels.json."""
    if path.suffix != '.json':
        names = [line.strip() for line in read_text(path).splitlines()]
        if not names or not all(names) or len({*names}) < len(names):
            raise InputError(f'Expected {path} to hold one class name per line, all different.')
        return names
    content = read_json(path)
    labels = [int(v) for v in content.values() if str(v).isdecimal()] if isinstance(content, dict) else []
    if not labels or sorted(labels) != [*range(len(content))]:
        raise InputError(f'Expected {path} to map class names to the labels 0, 1, ..., each once.')
    return sorted(content, key=lambda name: int(content[name]))


def read_ssv2_list(path: Path, classes: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Read video ids and labels (N,) from a list of Something-Something V2: ``[{"id": ..., "template": ...}, ...]``.

    Args:
        path: The json file, of the whole data set or of its long-tailed subset.
        classes: C class names; brackets in a template are ignored, ``Holding [something]`` is ``Holding something``.
    """
    records, label_of = read_json(path), {name: label for label, name in enumerate(classes)}
    names, labels, seen = [], [], set()
    for i, record in enumerate(records if isinstance(records, list) else [None]):
        if not isinstance(record, dict) or not {'id', 'template'} <= record.keys():
            raise InputError(f'{path}, entry {i}: expected a list of dict(id=..., template=...), but got {record!r}.')
        name, template = str(record['id']), str(record['template']).replace('[', '').replace(']', '')
        if template not in label_of:
            raise InputError(f'{path}, entry {i}: expected `template` to be one of the classes, but got {template!r}.')
        if name in seen:
            raise InputError(f'{path}, entry {i}: the video {name!r} is listed twice.')
        seen.add(name)
        names.append(name)
        labels.append(label_of[template])
    return names, np.array(labels, dtype=np.int64)


def pick_frames(num_total: int, num_frames: int, is_random: bool) -> np.ndarray:
    """Pick a frame of each of ``num_frames`` equal segments, (num_frames,): the middle one, or a random one.

    Args:
        num_total: T, frames of the video; fewer than ``num_frames`` are repeated.
        num_frames: Number of segments.
        is_random: Draw by PyTorch's global generator.
    """
    offset = torch.rand(num_frames).double().numpy() if is_random else 0.5
    return ((np.arange(num_frames) + offset) * num_total / num_frames).astype(np.int64).clip(max=num_total - 1)


@DATASETS.register_module()
class VideoFeatureDataset(FeatureDataset):
    """Features of videos, one ``.npy`` file per video, with a list file; to train the classifier on them.

    A file holds one feature, (D,), or one per frame or clip, (T, D), of which the mean is taken. As in
    :class:`ltmm.datasets.FeatureDataset` a whole batch is read at once: use ``'ltmm.collate_features'``.

    Lists, by suffix: ``.json``, the format of Something-Something V2, ``[{"id": "78687", "template": "Holding
    [something]"}, ...]``; anything else, the format of VideoLT and Kinetics, a line ``<video> <label>`` per video.
    The file of ``a/b.mp4`` is ``<features>/a/b.npy``.

    Args:
        ann_file: The list, relative to ``data_root`` or absolute.
        features: Folder of the files, likewise.
        classes: Class names in label order, or a file of them: one per line, or a ``.json`` ``{name: label}``.
        data_root: Folder of the data, or its name under ``$LTMM_DATA_ROOT`` or ``data/``.
        num_frames: Take the mean of this many frames, a random one of each segment in training, the middle one in
            test mode; each batch is read from disk. Default: the mean of all, read once.
        test_mode: Give every video its own data sample.
        lazy_init: Load on first use.
    """

    def __init__(
        self,
        ann_file: str,
        features: str,
        classes: Sequence[str] | str,
        data_root: str = '',
        num_frames: int | None = None,
        test_mode: bool = False,
        lazy_init: bool = False,
    ) -> None:
        check(num_frames=(num_frames, 'int >= 1 or None'))
        root = Path(data_root) if not data_root or Path(data_root).is_dir() else find_folder([data_root])
        self.data_root, self.ann_file, self.folder = str(root), str(root / ann_file), root / features
        self.classes = root / classes if isinstance(classes, str) else [*classes]
        self.num_frames, self.test_mode, self.in_memory = num_frames, test_mode, num_frames is None
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    def _load(self) -> None:
        path = Path(self.ann_file)
        for file in (path, *([self.classes] if isinstance(self.classes, Path) else [])):
            if not file.is_file():
                raise FileNotFoundError(f'{file} does not exist. Set `data_root`, `ann_file` and `classes`.')
        classes = read_class_names(self.classes) if isinstance(self.classes, Path) else self.classes
        self.info = dict(classes=classes)
        if path.suffix == '.json':
            names, labels = read_ssv2_list(path, classes)
        else:
            names, labels = read_list_file(path, len(classes))
        self._table = self._label_table(labels, classes, path)
        self._names = [f'{_without_suffix(name)}.npy' for name in names]
        if missing := missing_images(self.folder, self._names):
            raise FileNotFoundError(
                f'Features of {len(missing)} of {len(names)} videos are missing, {self.folder / missing[0]} first. '
                'Set `features` to their folder.'
            )
        self._width: int | None = None
        if self.in_memory:
            pooled = [self._array(name).mean(0) for name in self._names]
            self._features = torch.from_numpy(np.stack(pooled)) if pooled else torch.zeros(0, 0)

    def _read(self, indices: Sequence[int]) -> Tensor:
        if self.in_memory:
            return super()._read(indices)
        return torch.from_numpy(np.stack([self._array(self._names[i]).mean(0) for i in indices]))

    def _array(self, name: str) -> np.ndarray:
        """Read the frames of a video that are needed, (T, D), float32."""
        path = self.folder / name
        array = read_array(path, None if self.num_frames is None else 'r', 'Extract the features of this video again.')
        array = array[None] if array.ndim == 1 else array
        width = array.shape[-1] if self._width is None else self._width
        if array.ndim != 2 or not len(array) or array.dtype.kind not in 'fiu' or array.shape[1] != width:
            expected = '(D,) or (T, D)' if self._width is None else f'({width},) or (T, {width}), as before'
            raise InputError(f'{path}: expected numbers of shape {expected}, but got {array.dtype} {array.shape}.')
        self._width = width
        if self.num_frames is not None:
            array = array[pick_frames(len(array), self.num_frames, is_random=not self.test_mode)]
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            raise InputError(f'{path} has features that are not finite. Extract the features of this video again.')
        return array


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition('.')
    return stem if f'.{suffix.lower()}' in VIDEO_SUFFIXES and dot else name
