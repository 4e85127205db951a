"""Any detection annotation as a multi-label dataset."""

from pathlib import Path

import numpy as np

from ltmm.datasets.labels.detection_labels import check_option, read_image_ids, read_json_labels, read_voc_labels
from ltmm.datasets.labels.label_states import POSITIVE, STATES
from ltmm.registry import DATASETS

from .multi_label import ImageLabels, MultiLabelDataset

__all__ = ['DetectionAsMultiLabel']


@DATASETS.register_module()
class DetectionAsMultiLabel(MultiLabelDataset):
    """Which classes an image holds, from detection annotations: COCO's or LVIS's json, or Pascal VOC's xml.

    A class is positive where the image has an object of it, and negative where it has none. LVIS has looked for few
    classes in each image only: those that an image lists in ``neg_category_ids`` are negative, all others unknown,
    unless ``unlisted_as`` says negative. Where a file contradicts itself, an object counts more than the list.

    Args:
        ann_file: a ``.json`` file, or a ``.txt`` file with an image id a line as in VOC's ``ImageSets/Main``.
        data_root: what the paths are relative to.
        data_prefix: folder of the images, for VOC ``dict(img_path='JPEGImages', ann_path='Annotations')``. An image is
            found there by its ``file_name``; in LVIS by the path in its ``coco_url``, ``train2017/000000391895.jpg``.
        difficult_as: ``'positive'``, ``'negative'`` or ``'unknown'``: what a class is that an image shows by a crowd
            region (``iscrowd``) or by difficult objects alone.
        unlisted_as: ``'unknown'`` or ``'negative'``, for LVIS; unknown when left out.
        keep_empty: keep images without a positive label.
        metainfo: ``dict(classes=[...])`` keeps these classes, in this order; all when left out, those of a json file in
            the order of their ids.
        kwargs: see :class:`~ltmm.datasets.multi_label.MultiLabelDataset`.

    Raises:
        FileNotFoundError: annotations or images are missing.
        AnnotationFileError: a broken file, classes that it lacks, or ``unlisted_as`` for one that lists nothing.
        ValueError: an unknown option, or no image left.
    """

    def __init__(
        self,
        ann_file: str,
        data_root: str = '',
        data_prefix: str | dict = '',
        difficult_as: str = 'positive',
        unlisted_as: str | None = None,
        keep_empty: bool = True,
        **kwargs,
    ) -> None:
        check_option('difficult_as', difficult_as, sorted(STATES))
        check_option('unlisted_as', unlisted_as, ('unknown', 'negative', None))
        if not ann_file.endswith(('.json', '.txt')):
            raise ValueError(f'Expected `ann_file` to be a .json or a .txt file, but got {ann_file!r}.')
        is_voc = ann_file.endswith('.txt')
        if is_voc and unlisted_as is not None:
            raise ValueError(f'`unlisted_as` belongs to annotations of LVIS, but got it with {ann_file!r}.')
        if is_voc and not (isinstance(data_prefix, dict) and {'img_path', 'ann_path'} <= data_prefix.keys()):
            raise ValueError(
                "Expected `data_prefix` of VOC's annotations to be dict(img_path='JPEGImages', "
                f"ann_path='Annotations') or the like, but got {data_prefix!r}."
            )
        self.difficult_as, self.unlisted_as, self.keep_empty = difficult_as, unlisted_as, keep_empty
        super().__init__(ann_file, data_root=data_root, data_prefix=data_prefix, **kwargs)

    def read_labels(self) -> ImageLabels:
        """See :mod:`ltmm.datasets.labels.detection_labels`."""
        if not Path(self.ann_file).is_file():
            raise FileNotFoundError(f'{type(self).__name__}: annotation file {self.ann_file} does not exist.')
        classes = self._metainfo.get('classes')
        if self.ann_file.endswith('.txt'):
            ids = read_image_ids(Path(self.ann_file))
            labels = read_voc_labels(ids, Path(self.data_prefix['ann_path']), classes, self.difficult_as)
        else:
            labels = read_json_labels(self.ann_file, classes, self.difficult_as, self.unlisted_as)
        if not self.keep_empty:
            labels = labels.take(np.flatnonzero((labels.states == POSITIVE).any(axis=1)))
        if not labels.names:
            raise ValueError(f'{type(self).__name__}: {self.ann_file} holds no image that could be kept.')
        return labels
