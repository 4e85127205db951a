"""Detection datasets as multi-label datasets."""

from pathlib import Path

import numpy as np

from ltmm.datasets.labels.detection_labels import read_json_labels, read_voc_labels
from ltmm.datasets.labels.label_states import POSITIVE, STATES, ImageLabels
from ltmm.datasets.labels.voc_annotations import read_image_ids
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .multi_label import MultiLabelDataset

__all__ = ['DetectionAsMultiLabel']


@DATASETS.register_module()
class DetectionAsMultiLabel(MultiLabelDataset):
    """Images labeled by the classes of their objects, from annotations of COCO, LVIS (json) or Pascal VOC (xml).

    A class is positive if the image has an object of it, and negative otherwise. LVIS annotates few classes of each
    image: those listed in ``neg_category_ids`` are negative, all others unknown (see ``unlisted_as``).

    Args:
        ann_file: A ``.json`` file, or a ``.txt`` file with one image id or file name per line as in VOC's
            ``ImageSets/Main``.
        data_root: Root of the paths.
        data_prefix: Folder of the images, for VOC ``dict(img_path='JPEGImages', ann_path='Annotations')``. Images of
            VOC may have any suffix; others are found by ``file_name``, in LVIS by the path in ``coco_url``,
            ``train2017/000000391895.jpg``.
        difficult_as: ``'positive'``, ``'negative'`` or ``'unknown'``: state of a class that has only crowd regions
            (``iscrowd``) or difficult objects in the image.
        unlisted_as: ``'unknown'`` (default) or ``'negative'``, for LVIS only.
        keep_empty: Keep images without a positive label.
        metainfo: ``dict(classes=[...])`` selects and orders the classes. Default: all, those of a json file in the
            order of their ids.
        kwargs: See :class:`~ltmm.datasets.multi_label.MultiLabelDataset`.
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
        check(difficult_as=(difficult_as, STATES), unlisted_as=(unlisted_as or 'unknown', ('negative', 'unknown')))
        if not ann_file.endswith(('.json', '.txt')):
            raise InputError(f'Expected `ann_file` to be a .json or .txt file, but got {ann_file!r}.')
        self.is_voc = ann_file.endswith('.txt')
        if self.is_voc and unlisted_as is not None:
            raise InputError(f'`unlisted_as` is for LVIS annotations, but got the VOC file {ann_file!r}.')
        if self.is_voc and not (isinstance(data_prefix, dict) and {'img_path', 'ann_path'} <= data_prefix.keys()):
            raise InputError(f'Expected `data_prefix` of VOC with img_path and ann_path, but got {data_prefix!r}.')
        self.difficult_as, self.unlisted_as, self.keep_empty = difficult_as, unlisted_as, keep_empty
        super().__init__(ann_file, data_root=data_root, data_prefix=data_prefix, **kwargs)

    def read_labels(self) -> ImageLabels:
        """See :mod:`ltmm.datasets.labels.detection_labels`."""
        classes = self._metainfo.get('classes')
        if self.is_voc:
            folder = Path(self.data_prefix['ann_path'])
            ids = read_image_ids(Path(self.ann_file), lambda name: (folder / f'{name}.xml').is_file())
            labels = read_voc_labels(ids, folder, Path(self.img_prefix), classes, self.difficult_as)
        else:
            labels = read_json_labels(self.ann_file, classes, self.difficult_as, self.unlisted_as)
        if not self.keep_empty:
            labels = labels.take(np.flatnonzero((labels.states == POSITIVE).any(axis=1)))
        if not labels.names:
            raise InputError(f'{self.ann_file} has no images' + ' with a positive label.' * (not self.keep_empty))
        return labels
