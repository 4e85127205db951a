"""LVIS, and other datasets in its format."""

import logging
from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmdet.datasets import LVISV1Dataset
from mmdet.datasets.transforms import LoadAnnotations
from mmengine.fileio import exists
from mmengine.logging import print_log

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.datasets.labels.lvis_annotations import (
    AnnotationFileError,
    category_ids,
    image_file_name,
    read_lvis_annotations,
    why_dropped,
)
from ltmm.registry import DATASETS

from .files import IMAGE_SOURCE, check_images

__all__ = ['LVISDataset', 'report_dropped_boxes']

LVIS_SIZES = (1203, 1230)  # categories of v1 and v0.5


@DATASETS.register_module()
class LVISDataset(LVISV1Dataset):
    """mmdet's LVISV1Dataset for any file in the format of LVIS or COCO, with checks and a label table.

    The classes are the categories of the annotation file in the order of their ids, or those of
    ``metainfo=dict(classes=[...])`` in that order. Boxes less than a pixel wide or high, outside their image or of area
    0 are dropped with a warning; an ``area`` that is 0 or missing is that of the box where there is no mask. Images
    without annotations are kept, unless ``filter_cfg=dict(filter_empty_gt=True)``. An image is found under
    ``data_prefix['img']`` by its ``file_name``, in LVIS by the path of its ``coco_url``. Masks are checked if the
    pipeline loads them. For LVIS v1, the samples are those of LVISV1Dataset.

    Args:
        *args: See :class:`mmdet.datasets.LVISV1Dataset`.
        check_files: Check that all local images exist.
        **kwargs: See :class:`mmdet.datasets.LVISV1Dataset`.
    """

    METAINFO = dict(palette=None)

    def __init__(self, *args: Any, check_files: bool = True, **kwargs: Any) -> None:
        self.check_files = check_files
        self._label_table: LabelTable | None = None
        super().__init__(*args, **kwargs)

    @property
    def metainfo(self) -> dict:
        """Meta information; loads the annotation file of a lazily built dataset if the class names are unknown.

        Where there is no such file, as where mmdet's DetInferencer asks for a palette, they stay unknown.
        """
        if 'classes' not in self._metainfo and exists(self.ann_file, self.backend_args):
            self.full_init()
        return super().metainfo

    def full_init(self) -> None:
        """Load the annotations, and build the label table before they are serialized."""
        if self._fully_initialized:
            return
        serialize_data, self.serialize_data = self.serialize_data, False
        super().full_init()
        if self.check_files and not self.backend_args:
            paths = [record['img_path'] for record in self.data_list if '://' not in record['img_path']]
            check_images(Path(), paths, self.image_source())
        self._label_table = LabelTable.from_records(self)
        self.serialize_data = serialize_data
        if serialize_data:
            self.data_bytes, self.data_address = self._serialize_data()

    def image_source(self) -> str:
        """Return a sentence that says where to get missing images."""
        is_lvis = len(self.metainfo['classes']) in LVIS_SIZES
        return 'LVIS needs train2017 and val2017 of COCO under `data_root`.' if is_lvis else IMAGE_SOURCE

    def load_data_list(self) -> list[dict]:
        """Load one record per image, in the order of the file."""
        masks = any(isinstance(step, LoadAnnotations) and step.with_mask for step in self.pipeline.transforms)
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
        self.cat_ids = self.cat2label  # parse_data_info tests for membership, O(C) per annotation in a list
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
        if not self.test_mode:
            report_dropped_boxes(content, self.ann_file, self.cat2label)
        return data_list

    def filter_data(self) -> list[dict]:
        """Filter the images by ``filter_cfg`` as mmdet does."""
        data_list = super().filter_data()
        if not data_list:
            raise AnnotationFileError(
                f'No image is left of the {len(self.data_list)} of {self.ann_file} with filter_cfg={self.filter_cfg}.'
            )
        return data_list

    def select(self, content: dict) -> dict:
        """Select annotations; a hook for subclasses, called after ``self.cat2label`` is set."""
        return content

    def get_label_table(self) -> LabelTable:
        """Return the labels of all boxes, image by image."""
        self.full_init()
        if self._label_table is None:
            self._label_table = LabelTable.from_records(self)
        return self._label_table

    def get_subset_(self, indices: Sequence[int] | int) -> None:
        """Keep only the given samples."""
        super().get_subset_(indices)
        self._label_table = None

    def get_subset(self, indices: Sequence[int] | int) -> 'LVISDataset':
        """Return a dataset of the given samples."""
        subset = super().get_subset(indices)
        subset._label_table = None
        return subset


def report_dropped_boxes(content: Mapping, ann_file: str, category_ids: Container[int]) -> None:
    """Log how many objects of these categories mmdet drops from training, and why."""
    images = {image['id']: image for image in content['images']}
    objects = [
        ann
        for ann in content['annotations']
        if ann.get('category_id') in category_ids and ann.get('image_id') in images and not ann.get('ignore')
    ]
    reasons = Counter(why_dropped(ann, images[ann['image_id']]) for ann in objects)
    del reasons[None]
    log_dropped_boxes(reasons, len(objects), ann_file)


def log_dropped_boxes(reasons: Mapping[str, int], num_objects: int, ann_file: str) -> None:
    """Log how many of the objects of an annotation file are dropped from training, by reason; nothing if none is."""
    reasons = Counter(reasons)
    if reasons:
        listed = ', '.join(f'{count} {reason}' for reason, count in reasons.most_common())
        print_log(
            f'{ann_file}: {reasons.total()} of {num_objects} objects are dropped from training and class counts '
            f'({listed}). Metrics still ask for them: correct or remove them.',
            'current',
            logging.WARNING,
        )
