"""LVIS, and any data in its layout."""

import os
import os.path as osp
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from mmdet.datasets import LVISV1Dataset

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.datasets.labels.lvis_annotations import (
    AnnotationFileError,
    category_ids,
    image_file_name,
    read_lvis_annotations,
)
from ltmm.registry import DATASETS

__all__ = ['LVISDataset']


@DATASETS.register_module()
class LVISDataset(LVISV1Dataset):
    """mmdet's LVISV1Dataset for any file of LVIS's layout, that checks itself before training and knows its labels.

    The classes are the categories of the annotation file in the order of their ids, of which gaps are allowed, unless
    ``metainfo=dict(classes=[...])`` names them: then their order is that of the labels, and other categories are left
    out. Boxes narrower or lower than a pixel, or outside of their image, are left out too. Images without annotations
    stay, but for ``filter_cfg=dict(filter_empty_gt=True)``. An image is found under ``data_prefix['img']`` by the path
    in its ``coco_url``, ``train2017/000000391895.jpg`` say, or by its ``file_name`` where it has none. On LVIS v1 the
    samples are those of LVISV1Dataset.

    Masks are checked where the pipeline loads them. Labels are put aside while the file is loaded, so that class counts
    and samplers need no second pass.

    Args:
        *args: see :class:`mmdet.datasets.LVISV1Dataset`.
        check_files: look for all images when the dataset is built, by listing their folders; not done for images that
            are not on a local disk.
        **kwargs: see :class:`mmdet.datasets.LVISV1Dataset`.

    Raises:
        FileNotFoundError: the annotation file is missing, or images are (says how many, and which first).
        AnnotationFileError: the annotation file is broken or contradicts itself, lacks a class of ``metainfo``, or has
            no image that can be kept.
    """

    METAINFO = dict(palette=None)

    def __init__(self, *args: Any, check_files: bool = True, **kwargs: Any) -> None:
        self.check_files = check_files
        self._label_table: LabelTable | None = None
        super().__init__(*args, **kwargs)

    @property
    def metainfo(self) -> dict:
        """Meta information; a lazily built dataset reads its annotation file for the class names."""
        if 'classes' not in self._metainfo:
            self.full_init()
        return super().metainfo

    def full_init(self) -> None:
        """Load, check, and put the labels aside before the samples are serialised."""
        if self._fully_initialized:
            return
        serialize_data, self.serialize_data = self.serialize_data, False
        super().full_init()
        if self.check_files and not self.backend_args:
            self._check_files()
        self._label_table = LabelTable._of_leaf(self)
        self.serialize_data = serialize_data
        if serialize_data:
            self.data_bytes, self.data_address = self._serialize_data()

    def load_data_list(self) -> list[dict]:
        """One record an image, in the order of the file."""
        masks = any(getattr(transform, 'with_mask', False) for transform in self.pipeline.transforms)
        content = read_lvis_annotations(self.ann_file, self.backend_args, masks=masks)
        cat_ids = category_ids(content, self.ann_file, self._metainfo.get('classes'))
        self._metainfo['classes'] = tuple(cat_ids)
        self.cat2label = {cat_id: label for label, cat_id in enumerate(cat_ids.values())}
        content = self.select(content)
        self.cat_img_map = defaultdict(list)
        annotations = defaultdict(list)
        for annotation in content['annotations']:
            annotations[annotation['image_id']].append(annotation)
            self.cat_img_map[annotation['category_id']].append(annotation['image_id'])
        self.cat_ids = self.cat2label  # parse_data_info asks for membership: a list would cost O(C) an annotation
        data_list = [
            self.parse_data_info(
                dict(
                    raw_img_info=dict(image, img_id=image['id'], file_name=image_file_name(image)),
                    raw_ann_info=annotations[image['id']],
                )
            )
            for image in content['images']
        ]
        self.cat_ids = list(self.cat2label)
        return data_list

    def filter_data(self) -> list[dict]:
        """mmdet's choice of the images, as ``filter_cfg`` says."""
        data_list = super().filter_data()
        if not data_list:
            raise AnnotationFileError(
                f'{type(self).__name__}: {self.ann_file} holds no image that can be kept. '
                + (f'{len(self.data_list)} are not by {self.filter_cfg}.' if self.data_list else 'It has none.')
            )
        return data_list

    def select(self, content: dict) -> dict:
        """What of the annotation file to keep: all of it; for subclasses, which find labels in ``self.cat2label``.

        Args:
            content: see :func:`read_lvis_annotations`.
        """
        return content

    def get_label_table(self) -> LabelTable:
        """The label of every box, image after image."""
        self.full_init()
        if self._label_table is None:
            self._label_table = LabelTable._of_leaf(self)
        return self._label_table

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep only ``indices``."""
        super().get_subset_(indices)
        self._label_table = None

    def get_subset(self, indices: Sequence[int] | int) -> 'LVISDataset':
        """A dataset of ``indices`` only."""
        subset = super().get_subset(indices)
        subset._label_table = None
        return subset

    def _check_files(self) -> None:
        names = defaultdict(list)
        for record in self.data_list:
            folder, name = osp.split(record['img_path'])
            names[folder].append(name)
        missing = []
        for folder, wanted in names.items():
            if '://' in folder:
                continue
            there = set(os.listdir(folder)) if osp.isdir(folder) else set()
            missing += [osp.join(folder, name) for name in wanted if name not in there]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of the {len(self.data_list)} images of {self.ann_file} are missing, {missing[0]} '
                'first. LVIS v1 needs the folders train2017 and val2017 of COCO side by side under `data_root`.'
            )
