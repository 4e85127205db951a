"""LVIS from a cache that all processes share."""

import logging
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np
from mmdet.datasets.transforms import LoadAnnotations
from mmengine.logging import print_log

from ltmm.datasets.annotations import Annotations, UncacheableError, load_annotations
from ltmm.datasets.annotations.cache import CACHE_VARIABLE
from ltmm.datasets.annotations.columns import DROPPED, IGNORED
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.datasets.labels.lvis_annotations import AnnotationFileError, category_ids, image_file_name
from ltmm.registry import DATASETS
from ltmm.utils.errors import InputError

from .files import check_images
from .lvis import LVISDataset, log_dropped_boxes

__all__ = ['CachedLVISDataset']


@DATASETS.register_module()
class CachedLVISDataset(LVISDataset):
    """LVISDataset that maps its annotations from a cache on disk: starts in seconds, and workers and ranks share it.

    Samples, filters, checks and label table are those of :class:`LVISDataset`. The first start writes the cache, see
    :func:`ltmm.datasets.annotations.load_annotations`; a sample is built from it when it is read. Where there can be no
    cache (a remote file, ids that are texts, a full disk), it warns and loads the annotations as LVISDataset does.
    Malformed numbers in polygons raise an error only when their image is read.

    Args:
        *args: See :class:`LVISDataset`; without ``proposal_file``.
        cache_dir: Folder of caches. Default: ``$LTMM_CACHE/annotations``, or ``~/.cache/ltmm/annotations``.
        **kwargs: See :class:`LVISDataset`.
    """

    def __init__(self, *args: Any, cache_dir: str | Path | None = None, **kwargs: Any) -> None:
        if not isinstance(cache_dir, (str, Path, NoneType)):
            raise InputError(f'Expected `cache_dir` to be a folder, but got {cache_dir!r}.')
        self.cache_dir = cache_dir
        self._annotations: Annotations | None = None
        if kwargs.get('proposal_file') is not None:
            raise InputError('CachedLVISDataset does not support `proposal_file`. Use ltmm.LVISDataset.')
        super().__init__(*args, **kwargs)

    def full_init(self) -> None:
        """Map the annotations, and build the label table from their columns."""
        if self._fully_initialized:
            return
        try:
            if self.backend_args:
                raise UncacheableError('it is read by `backend_args`')
            self._annotations = load_annotations(self.ann_file, self.cache_dir and Path(self.cache_dir))
        except (UncacheableError, OSError) as e:
            if isinstance(e, FileNotFoundError) and not Path(self.ann_file).is_file():
                raise
            remedy = f' Set `cache_dir` or {CACHE_VARIABLE} to a writable folder.' if isinstance(e, OSError) else ''
            print_log(
                f'{self.ann_file} is not cached ({e}): each process holds its annotations in memory.{remedy}',
                'current',
                logging.WARNING,
            )
            return super().full_init()
        self.serialize_data = False
        self._read_meta()
        labels = self._read_labels()
        self.data_list = self._keep_rows(labels)
        if self._indices is not None:
            self.data_list = self._get_unserialized_subset(self._indices)
        if self.check_files:
            paths = [self._image_path(row) for row in self.data_list]
            check_images(Path(), [path for path in paths if '://' not in path], self.image_source())
        self._label_table = self._build_label_table(labels)
        self._fully_initialized = True

    def get_data_info(self, idx: int) -> dict:
        """Build the record of one image, as mmdet's datasets have it."""
        self.full_init()
        if self._annotations is None:
            return super().get_data_info(idx)
        row = int(self.data_list[idx])
        image = self._annotations.image_record(row)
        info = self.parse_data_info(
            dict(
                raw_img_info=dict(image, img_id=image['id'], file_name=image_file_name(image)),
                raw_ann_info=self._annotations.object_records(row),
            )
        )
        return dict(info, sample_idx=idx if idx >= 0 else len(self) + idx)

    def get_label_table(self) -> LabelTable:
        """Return the labels of all boxes, image by image."""
        self.full_init()
        if self._annotations is None:
            return super().get_label_table()
        if self._label_table is None:  # of a subset
            self._label_table = self._build_label_table(self._read_labels())
        return self._label_table

    def _get_unserialized_subset(self, indices: Sequence[int] | int) -> Any:
        if self._annotations is None:
            return super()._get_unserialized_subset(indices)
        if isinstance(indices, (int, np.integer)):
            return self.data_list[:indices] if indices >= 0 else self.data_list[indices:]
        return self.data_list[np.asarray(indices, dtype=np.int64)]

    def _read_meta(self) -> None:
        data = self._annotations
        masks = any(isinstance(step, LoadAnnotations) and step.with_mask for step in self.pipeline.transforms)
        if masks and data.meta['invalid_mask']:
            index, problem = data.meta['invalid_mask']
            raise AnnotationFileError(f'{self.ann_file}: the mask of annotation {index} {problem}.')
        ids = category_ids(data.meta, self.ann_file, self._metainfo.get('classes'))
        self._metainfo['classes'] = tuple(ids)
        self.cat_ids = list(ids.values())
        self.cat2label = {cat_id: label for label, cat_id in enumerate(self.cat_ids)}

    def _read_labels(self) -> np.ndarray:
        """Return the label of each object of the file, (M,); -1 for categories that are not classes."""
        data = self._annotations
        return np.array([self.cat2label.get(c, -1) for c in data.category_ids], np.int32)[data.category]

    def _keep_rows(self, labels: np.ndarray) -> np.ndarray:
        """Return the rows of the images that ``filter_cfg`` keeps, as mmdet does; log which boxes are dropped."""
        data = self._annotations
        keep = np.ones(len(data), dtype=bool)
        if not self.test_mode:
            used = (labels >= 0) & (data.flags < IGNORED)
            counts = np.bincount(data.drop[used], minlength=len(DROPPED))
            reasons = {reason: int(count) for reason, count in zip(DROPPED[1:], counts[1:]) if count}
            log_dropped_boxes(reasons, int(used.sum()), self.ann_file)
        if not self.test_mode and self.filter_cfg is not None:
            keep &= data.image_size.min(1) >= self.filter_cfg.get('min_size', 0)
            if self.filter_cfg.get('filter_empty_gt', False):
                keep &= np.bincount(data.image[labels >= 0], minlength=len(data)) > 0
        if not keep.any():
            raise AnnotationFileError(
                f'No image is left of the {len(data)} of {self.ann_file} with filter_cfg={self.filter_cfg}.'
            )
        return np.flatnonzero(keep)

    def _build_label_table(self, labels: np.ndarray) -> LabelTable:
        data = self._annotations
        kept = (labels >= 0) & (data.drop == 0) & (data.flags == 0)
        offsets = np.r_[0, np.cumsum(np.bincount(data.image[kept], minlength=len(data)))]
        names = tuple(self.metainfo['classes'])
        table = LabelTable(labels[kept].astype(np.int64), offsets, len(names), names, is_multi_label=False)
        return table if np.array_equal(self.data_list, np.arange(len(data))) else table.take(self.data_list)

    def _image_path(self, row: int) -> str:
        image = self._annotations.image_record(row)
        empty = dict(image, img_id=image['id'], file_name=image_file_name(image))
        return self.parse_data_info(dict(raw_img_info=empty, raw_ann_info=[]))['img_path']
