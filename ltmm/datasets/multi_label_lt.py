"""COCO-MLT and VOC-MLT: long-tailed subsets of COCO 2017 and Pascal VOC 2012."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmpretrain.datasets.categories import VOC2007_CATEGORIES

from ltmm.datasets.labels.detection_labels import read_json_labels, read_voc_labels
from ltmm.datasets.labels.label_states import POSITIVE, STATES, ImageLabels
from ltmm.datasets.labels.lvis_annotations import AnnotationFileError
from ltmm.datasets.labels.voc_annotations import read_image_ids
from ltmm.registry import DATASETS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .files import DATA_ROOT_VARIABLE, data_roots, find_folder
from .multi_label import MultiLabelDataset

__all__ = ['COCOMLT', 'VOCMLT', 'MLTSplit', 'MultiLabelLT']

AUTHORS = 'github.com/wutong16/DistributionBalancedLoss'
LIST_FILES = ('img_id.txt', 'img_id.pkl')  # names of the list of training images
# images that hold each class, in label order, as published in [1]
COCO_MLT_COUNTS = (
    *(1128, 37, 276, 32, 9, 41, 18, 87, 20, 50, 11, 13, 8, 97, 19, 49, 70, 17, 7, 10, 8, 6, 7, 7, 100, 39, 189, 31),
    *(24, 11, 12, 8, 35, 10, 25, 21, 17, 10, 20, 460, 84, 498, 126, 207, 173, 366, 39, 35, 44, 36, 29, 25, 14, 45, 16),
    *(73, 585, 153, 164, 44, 624, 25, 200, 137, 70, 89, 73, 127, 91, 175, 9, 237, 119, 292, 87, 113, 15, 21, 6, 11),
)
VOC_MLT_COUNTS = (6, 34, 8, 14, 154, 17, 249, 29, 479, 4, 240, 48, 11, 20, 775, 100, 5, 82, 7, 64)


class MLTSplit(NamedTuple):
    """Paths of a split under ``data_root``, and its published numbers of images."""

    images: str
    annotations: str
    num_images: int
    archives: str
    counts: tuple[int, ...] | None = None  # images per class of the listed training images; None for the test set


class MultiLabelLT(MultiLabelDataset):
    """Base class of COCO-MLT and VOC-MLT.

    The number of images, in total and per class, must be the published one.

    Args:
        split: ``'train'`` or ``'test'``.
        data_root: Folder of images and annotations. Default: searched for in ``$LTMM_DATA_ROOT`` and ``data/``.
        list_file: The authors' list of training images. Default: searched for.
        difficult_as: ``'positive'``, ``'negative'`` or ``'unknown'``: state of a class that has only crowd regions or
            difficult objects in the image.
        kwargs: See :class:`~ltmm.datasets.multi_label.MultiLabelDataset`.
    """

    name = ''
    splits: dict[str, MLTSplit] = {}
    folders: tuple[str, ...] = ()
    list_folders: tuple[str, ...] = ()

    def __init__(
        self, split: str = 'train', data_root: str = '', list_file: str = '', difficult_as: str = 'positive', **kwargs
    ) -> None:
        check(split=(split, self.splits), difficult_as=(difficult_as, STATES))
        if list_file and split != 'train':
            raise InputError(f'{self.name}: `list_file` is for the training images, but got {split=!r}.')
        self.split, self.info = split, self.splits[split]
        self.list_file, self.difficult_as = list_file, difficult_as
        data_root = data_root or str(find_folder(self.folders))
        super().__init__(
            self.info.annotations, data_root=data_root, data_prefix=dict(img_path=self.info.images), **kwargs
        )

    def read_labels(self) -> ImageLabels:
        """Read the labels of the listed images, and compare their numbers with the published ones."""
        path = Path(self.ann_file)
        if not path.exists():
            raise FileNotFoundError(f'{path.absolute()} does not exist. {self.image_source()}')
        labels = self._read(path, read_image_ids(self._find_list()) if self.split == 'train' else None)
        self._check_counts((labels.states == POSITIVE).sum(axis=0), len(labels.names))
        return labels

    def image_source(self) -> str:
        """See :class:`MultiLabelDataset`."""
        return (
            f'{self.name}: extract into {self.folders[0]}/ under ${DATA_ROOT_VARIABLE} or data/: {self.info.archives}.'
        )

    def list_source(self) -> str:
        """Return where to get the list of training images."""
        return f'img_id.txt from {AUTHORS}, folder appendix/{self.list_folders[-1]}'

    def _read(self, path: Path, image_ids: list[str] | None) -> ImageLabels:
        """Read the annotations of the images, or of all test images."""
        raise NotImplementedError

    def _find_list(self) -> Path:
        if self.list_file:
            return Path(self.list_file)
        roots = [Path(self.data_root), *(root / folder for root in data_roots() for folder in self.list_folders)]
        found = next((root / name for root in roots for name in LIST_FILES if (root / name).is_file()), None)
        if found is None:
            raise FileNotFoundError(
                f'{self.name}: no list of training images. Download {self.list_source()} into '
                f'{(data_roots()[-1] / self.list_folders[0]).absolute()}, or set `list_file`.'
            )
        return found

    def _check_counts(self, counts: np.ndarray, num_images: int) -> None:
        expected, source = self.info.counts, self.info.archives if self.split == 'test' else self.list_source()
        if num_images != self.info.num_images:
            raise AnnotationFileError(
                f'{self.name}: expected {self.info.num_images} {self.split} images, but got {num_images}. '
                f'Download {source} again.'
            )
        if expected is None:
            return
        if len(counts) != len(expected):
            raise AnnotationFileError(f'{self.name} has {len(expected)} classes, but got {len(counts)}.')
        wrong = np.flatnonzero(counts != expected)
        if len(wrong):
            raise AnnotationFileError(
                f'{self.name}: {len(wrong)} classes differ from the published number of images, class {wrong[0]} with '
                f'{counts[wrong[0]]} in place of {expected[wrong[0]]} first (difficult_as={self.difficult_as!r}). '
                f'Download {source} again.'
            )


@DATASETS.register_module()
class COCOMLT(MultiLabelLT):
    """COCO-MLT: 1,909 images of COCO train2017 with 80 classes of 1,128 to 6 images; the test set is val2017.

    ``data_root`` holds ``annotations/``, ``train2017/`` and ``val2017/``. Args: see :class:`MultiLabelLT`.

    References:
        [0] Wu et al., Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets, ECCV 2020,
            arXiv 2007.09654.
        [1] github.com/wutong16/DistributionBalancedLoss @14460d0, appendix/coco/longtail2017.
    """

    name = 'COCO-MLT'
    folders = ('coco', 'COCO', 'coco2017')
    list_folders = ('coco_mlt', 'COCO_MLT', 'coco/longtail2017')
    splits = {
        'train': MLTSplit(
            'train2017',
            'annotations/instances_train2017.json',
            1909,
            'train2017.zip and annotations_trainval2017.zip (cocodataset.org/#download)',
            COCO_MLT_COUNTS,
        ),
        'test': MLTSplit(
            'val2017',
            'annotations/instances_val2017.json',
            5000,
            'val2017.zip and annotations_trainval2017.zip (cocodataset.org/#download)',
        ),
    }

    def _read(self, path: Path, image_ids: list[str] | None) -> ImageLabels:
        wrong = [name for name in image_ids or () if not name.isdecimal()]
        if wrong:
            raise AnnotationFileError(f'{self.name}: expected COCO image ids in the list, but got {wrong[0]!r}.')
        ids = None if image_ids is None else list(map(int, image_ids))
        return read_json_labels(str(path), self._metainfo.get('classes'), self.difficult_as, image_ids=ids)


@DATASETS.register_module()
class VOCMLT(MultiLabelLT):
    """VOC-MLT: 1,142 images of VOC 2012 trainval with 20 classes of 775 to 4 images; the test set is VOC 2007 test.

    ``data_root`` is ``VOCdevkit`` with ``VOC2012/`` and ``VOC2007/``. Difficult objects count, in training and test, as
    in [1]. Args: see :class:`MultiLabelLT`.

    References:
        [0] Wu et al., Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets, ECCV 2020,
            arXiv 2007.09654.
        [1] github.com/wutong16/DistributionBalancedLoss @14460d0, appendix/VOCdevkit/longtail2012.
    """

    METAINFO = {'classes': tuple(VOC2007_CATEGORIES)}
    name = 'VOC-MLT'
    folders = ('VOCdevkit', 'voc', 'VOC')
    list_folders = ('voc_mlt', 'VOC_MLT', 'VOCdevkit/longtail2012')
    splits = {
        'train': MLTSplit(
            'VOC2012/JPEGImages',
            'VOC2012/Annotations',
            1142,
            'the folder VOC2012 of VOCtrainval_11-May-2012.tar (host.robots.ox.ac.uk/pascal/VOC/voc2012)',
            VOC_MLT_COUNTS,
        ),
        'test': MLTSplit(
            'VOC2007/JPEGImages',
            'VOC2007/Annotations',
            4952,
            'the folder VOC2007 of VOCtest_06-Nov-2007.tar (host.robots.ox.ac.uk/pascal/VOC/voc2007)',
        ),
    }

    def _read(self, path: Path, image_ids: list[str] | None) -> ImageLabels:
        image_ids = read_image_ids(path.parent / 'ImageSets/Main/test.txt') if image_ids is None else image_ids
        return read_voc_labels(image_ids, path, Path(self.img_prefix), self._metainfo['classes'], self.difficult_as)
