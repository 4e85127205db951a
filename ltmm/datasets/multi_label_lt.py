"""COCO-MLT and VOC-MLT: long-tailed parts of COCO 2017 and Pascal VOC 2012, named by list files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmpretrain.datasets.categories import VOC2007_CATEGORIES

from ltmm.datasets.labels.detection_labels import check_option, read_image_ids, read_json_labels, read_voc_labels
from ltmm.datasets.labels.label_states import POSITIVE, STATES
from ltmm.datasets.labels.lvis_annotations import AnnotationFileError
from ltmm.registry import DATASETS

from .files import DATA_ROOT_VARIABLE, data_roots, find_folder
from .multi_label import ImageLabels, MultiLabelDataset

__all__ = ['COCOMLT', 'VOCMLT', 'MLTSplit']

AUTHORS = 'github.com/wutong16/DistributionBalancedLoss'
# images that hold each class, in label order, as published in [1]
COCO_MLT_COUNTS = (
    *(1128, 37, 276, 32, 9, 41, 18, 87, 20, 50, 11, 13, 8, 97, 19, 49, 70, 17, 7, 10, 8, 6, 7, 7, 100, 39, 189, 31),
    *(24, 11, 12, 8, 35, 10, 25, 21, 17, 10, 20, 460, 84, 498, 126, 207, 173, 366, 39, 35, 44, 36, 29, 25, 14, 45, 16),
    *(73, 585, 153, 164, 44, 624, 25, 200, 137, 70, 89, 73, 127, 91, 175, 9, 237, 119, 292, 87, 113, 15, 21, 6, 11),
)
VOC_MLT_COUNTS = (6, 34, 8, 14, 154, 17, 249, 29, 479, 4, 240, 48, 11, 20, 775, 100, 5, 82, 7, 64)


class MLTSplit(NamedTuple):
    """Where a split lies under ``data_root``, and what it must hold."""

    images: str
    annotations: str
    num_images: int
    list_files: tuple[str, ...]  # names that the list of images goes by; none: it is the annotation file's own
    counts: tuple[int, ...] | None  # images that hold each class; None where nothing is published
    archives: str


class _MultiLabelLT(MultiLabelDataset):
    """What the two benchmarks share; a subclass fills in the facts.

    Args:
        split: ``'train'`` or ``'test'``.
        data_root: folder of images and annotations; searched for when left out.
        list_file: the authors' list of training images, a path; searched for when left out.
        difficult_as: ``'positive'``, ``'negative'`` or ``'unknown'``.
        kwargs: see :class:`~ltmm.datasets.multi_label.MultiLabelDataset`.
    """

    name = ''
    splits: dict[str, MLTSplit] = {}
    folders: tuple[str, ...] = ()
    list_folders: tuple[str, ...] = ()
    list_source = ''

    def __init__(
        self, split: str = 'train', data_root: str = '', list_file: str = '', difficult_as: str = 'positive', **kwargs
    ) -> None:
        check_option('split', split, sorted(self.splits))
        check_option('difficult_as', difficult_as, sorted(STATES))
        facts = self.splits[split]
        if list_file and not facts.list_files:
            raise ValueError(f'{self.name}: `list_file` belongs to the training images, but got it with {split=!r}.')
        self.split, self.facts, self.list_file, self.difficult_as = split, facts, list_file, difficult_as
        data_root = data_root or str(find_folder(self.folders))
        super().__init__(facts.annotations, data_root=data_root, data_prefix=dict(img_path=facts.images), **kwargs)

    def read_labels(self) -> ImageLabels:
        """Those of the listed images, compared with what is published."""
        path = Path(self.ann_file)
        if not path.exists():
            raise FileNotFoundError(f'{self.name}: {path.absolute()} is not there.\n{self.source_of_images()}')
        labels = self._read(path, read_image_ids(self._find_list()) if self.facts.list_files else None)
        self._check_counts((labels.states == POSITIVE).sum(axis=0), len(labels.names))
        return labels

    def source_of_images(self) -> str:
        """See :class:`MultiLabelDataset`."""
        return (
            f'{self.name}: unpack into {Path(self.data_root).absolute()} (or {self.folders[0]}/ under '
            f'${DATA_ROOT_VARIABLE}): {self.facts.archives}.'
        )

    def _read(self, path: Path, image_ids: list[str] | None) -> ImageLabels:
        raise NotImplementedError

    def _find_list(self) -> Path:
        if self.list_file:
            candidates = [Path(self.list_file)]
        else:
            folders = [Path(self.data_root), *(root / folder for root in data_roots() for folder in self.list_folders)]
            candidates = [folder / name for folder in folders for name in self.facts.list_files]
        found = next((path for path in candidates if path.is_file()), None)
        if found is None:
            raise FileNotFoundError(
                f'{self.name}: the list of training images is not there. Fetch {self.list_source}, and put it into '
                f'{(data_roots()[-1] / self.list_folders[0]).absolute()}, or say where it is by list_file=PATH.'
            )
        return found

    def _check_counts(self, counts: np.ndarray, num_images: int) -> None:
        facts = self.facts
        if num_images != facts.num_images:
            raise AnnotationFileError(
                f'{self.name}: expected {facts.num_images} images for {self.split}ing, but got {num_images}. '
                f'Fetch {self.list_source if facts.list_files else facts.archives} again.'
            )
        if facts.counts is not None and len(counts) != len(facts.counts):
            raise AnnotationFileError(f'{self.name} has {len(facts.counts)} classes, but got {len(counts)}.')
        wrong = [] if facts.counts is None else np.flatnonzero(counts != facts.counts)
        if len(wrong):
            raise AnnotationFileError(
                f'{self.name}: expected the published number of images of each class, but {len(wrong)} classes have '
                f'another: class {wrong[0]} has {counts[wrong[0]]}, not {facts.counts[wrong[0]]} '
                f'(difficult_as={self.difficult_as!r}). Fetch {self.list_source} again.'
            )


@DATASETS.register_module()
class COCOMLT(_MultiLabelLT):
    """COCO-MLT: 1,909 images of COCO's train2017 with 80 classes, 1,128 to 6 images each; tested on all of val2017.

    [0] Wu et al., Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets, ECCV 2020,
        arXiv 2007.09654.
    [1] github.com/wutong16/DistributionBalancedLoss @14460d0, appendix/coco/longtail2017.

    Args:
        split: ``'train'`` or ``'test'``.
        data_root: folder that holds ``annotations/``, ``train2017/`` and ``val2017/``; searched for when left out.
        list_file: the ids of the training images; searched for when left out.
        difficult_as: what a class is that an image shows by crowd regions alone.
        kwargs: see :class:`~ltmm.datasets.multi_label.MultiLabelDataset`.

    Raises:
        FileNotFoundError: list, annotations or images are missing; says what to fetch and where it goes.
        AnnotationFileError: not the published number of images, in all and of each class.
    """

    name = 'COCO-MLT'
    folders = ('coco', 'COCO', 'coco2017')
    list_folders = ('coco_mlt', 'COCO_MLT', 'coco/longtail2017')
    list_source = f'img_id.txt from {AUTHORS}, folder appendix/coco/longtail2017'
    splits = {
        'train': MLTSplit(
            'train2017',
            'annotations/instances_train2017.json',
            1909,
            ('img_id.txt', 'img_id.pkl'),
            COCO_MLT_COUNTS,
            'train2017.zip and annotations_trainval2017.zip (cocodataset.org/#download)',
        ),
        'test': MLTSplit(
            'val2017',
            'annotations/instances_val2017.json',
            5000,
            (),
            None,
            'val2017.zip and annotations_trainval2017.zip (cocodataset.org/#download)',
        ),
    }

    def _read(self, path: Path, image_ids: list[str] | None) -> ImageLabels:
        if image_ids is not None and not all(name.isdecimal() for name in image_ids):
            wrong = next(name for name in image_ids if not name.isdecimal())
            raise AnnotationFileError(f'{self.name}: expected ids of images of COCO in the list, but got {wrong!r}.')
        ids = None if image_ids is None else [int(name) for name in image_ids]
        return read_json_labels(str(path), self._metainfo.get('classes'), self.difficult_as, image_ids=ids)


@DATASETS.register_module()
class VOCMLT(_MultiLabelLT):
    """VOC-MLT: 1,142 images of VOC 2012's trainval with 20 classes, 775 to 4 images each; tested on VOC 2007's test.

    Difficult objects count, in training and in the test, as in [1].

    [0] Wu et al., Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets, ECCV 2020,
        arXiv 2007.09654.
    [1] github.com/wutong16/DistributionBalancedLoss @14460d0, appendix/VOCdevkit/longtail2012.

    Args:
        split: ``'train'`` or ``'test'``.
        data_root: the ``VOCdevkit`` folder that holds ``VOC2012/`` and ``VOC2007/``; searched for when left out.
        list_file: the ids of the training images; searched for when left out.
        difficult_as: what a class is that an image shows by difficult objects alone.
        kwargs: see :class:`~ltmm.datasets.multi_label.MultiLabelDataset`.

    Raises:
        FileNotFoundError: list, annotations or images are missing; says what to fetch and where it goes.
        AnnotationFileError: not the published number of images, in all and of each class.
    """

    METAINFO = {'classes': tuple(VOC2007_CATEGORIES)}
    name = 'VOC-MLT'
    folders = ('VOCdevkit', 'voc', 'VOC')
    list_folders = ('voc_mlt', 'VOC_MLT', 'VOCdevkit/longtail2012')
    list_source = f'img_id.txt from {AUTHORS}, folder appendix/VOCdevkit/longtail2012'
    splits = {
        'train': MLTSplit(
            'VOC2012/JPEGImages',
            'VOC2012/Annotations',
            1142,
            ('img_id.txt', 'img_id.pkl'),
            VOC_MLT_COUNTS,
            'the folder VOC2012 of VOCtrainval_11-May-2012.tar (host.robots.ox.ac.uk/pascal/VOC/voc2012)',
        ),
        'test': MLTSplit(
            'VOC2007/JPEGImages',
            'VOC2007/Annotations',
            4952,
            (),
            None,
            'the folder VOC2007 of VOCtest_06-Nov-2007.tar (host.robots.ox.ac.uk/pascal/VOC/voc2007)',
        ),
    }

    def _read(self, path: Path, image_ids: list[str] | None) -> ImageLabels:
        if image_ids is None:
            list_file = path.parent / 'ImageSets/Main/test.txt'
            if not list_file.is_file():
                raise FileNotFoundError(f'{self.name}: {list_file.absolute()} is not there.\n{self.source_of_images()}')
            image_ids = read_image_ids(list_file)
        return read_voc_labels(image_ids, path, self._metainfo['classes'], self.difficult_as)
