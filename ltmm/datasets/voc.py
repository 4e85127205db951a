"""Pascal VOC, and other folders of xml files, for detectors."""

import logging
from collections import Counter
from pathlib import Path

from mmdet.datasets import VOCDataset as MMDetVOCDataset
from mmengine.logging import print_log
from PIL import Image

from ltmm.datasets.labels.voc_annotations import VOCImage, find_images, read_image_ids, read_voc_annotations
from ltmm.registry import DATASETS

from .files import IMAGE_SOURCE, check_images

__all__ = ['VOCDataset']


@DATASETS.register_module()
class VOCDataset(MMDetVOCDataset):
    """mmdet's VOCDataset for folders as the benchmark, LabelImg and CVAT write them.

    Images may have any suffix, names may hold blanks, and ``ann_file`` may list files in place of image ids. The
    classes are those that occur in the files of this split, in alphabetical order, or those of
    ``metainfo=dict(classes=[...])``. For the benchmark, the samples are those of mmdet.

    Args:
        check_files: Check that all images exist.
        **kwargs: See :class:`mmdet.datasets.XMLDataset`; ``data_prefix=dict(sub_data_root='VOC2012/')`` is the folder
            of ``img_subdir`` and ``ann_subdir``.
    """

    METAINFO = dict(palette=None)

    def __init__(self, check_files: bool = True, **kwargs) -> None:
        self.check_files = check_files
        super().__init__(**kwargs)

    @property
    def metainfo(self) -> dict:
        """Meta information; loads the annotations of a lazily built dataset if the class names are unknown.

        Where there are none, as where mmdet's DetInferencer asks for a palette, the names stay unknown.
        """
        if 'classes' not in self._metainfo and Path(self.ann_file).is_file():
            self.full_init()
        return super().metainfo

    def load_data_list(self) -> list[dict]:
        """Load one record per image, in the order of ``ann_file``."""
        images, annotations = (Path(self.sub_data_root, folder) for folder in (self.img_subdir, self.ann_subdir))
        ids = read_image_ids(Path(self.ann_file), lambda name: (annotations / f'{name}.xml').is_file())
        files = find_images(ids, images)
        if self.check_files:
            check_images(images, files, IMAGE_SOURCE)
        contents = read_voc_annotations(ids, annotations)
        names = {item.name for content in contents for item in content.objects}
        classes = self._metainfo.setdefault('classes', tuple(sorted(names)))
        self.cat2label = {name: label for label, name in enumerate(classes)}
        self._dropped: Counter = Counter()
        records = [
            self._record(image_id, images / file, annotations / f'{image_id}.xml', content)
            for image_id, file, content in zip(ids, files, contents)
        ]
        if self._dropped:
            listed = ', '.join(f'{count} {reason}' for reason, count in self._dropped.most_common())
            total = sum(len(content.objects) for content in contents)
            print_log(
                f'{self.ann_file}: {self._dropped.total()} of {total} objects are dropped ({listed}).',
                'current',
                logging.WARNING,
            )
        return records

    def _record(self, image_id: str, image: Path, xml: Path, content: VOCImage) -> dict:
        size = content.size
        if size is None:
            with Image.open(image) as file:
                size = file.size
        instances = []
        for item in content.objects:
            if item.name not in self.cat2label:
                self._dropped[f'of {item.name!r}, which is not in `classes`'] += 1
            elif item.box is None or item.box[0] >= item.box[2] or item.box[1] >= item.box[3]:
                self._dropped['without a box of positive size'] += 1
            else:
                box = [int(corner) - 1 for corner in item.box]  # VOC counts pixels from 1
                min_size = self.bbox_min_size or 0
                is_small = min(box[2] - box[0], box[3] - box[1]) < min_size
                ignore_flag = int(item.is_difficult or is_small)
                instances.append(dict(ignore_flag=ignore_flag, bbox=box, bbox_label=self.cat2label[item.name]))
        return dict(
            img_path=str(image), img_id=image_id, xml_path=str(xml), height=size[1], width=size[0], instances=instances
        )
