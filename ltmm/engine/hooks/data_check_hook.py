"""Check the datasets of training, validation and test."""

import logging
from contextlib import suppress
from typing import Any

from mmengine.dataset import BaseDataset
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner
from mmpretrain.datasets import BaseDataset as ClassificationDataset
from mmpretrain.datasets import CustomDataset

from ltmm.datasets.custom import check_custom_dataset
from ltmm.datasets.images import base_datasets, check_loaded_images
from ltmm.datasets.labels import LabelTable
from ltmm.registry import HOOKS
from ltmm.utils.environment import mmdet_is_usable
from ltmm.utils.errors import InputError, InputTypeError

__all__ = ['DataCheckHook']


@HOOKS.register_module()
class DataCheckHook(Hook):
    """Check datasets for problems that mmpretrain and mmdet ignore.

    - An image that cannot be read, or is of another size than its annotation says, stops the run with its name, and
      so does an invalid label.
    - Files and boxes that the datasets skip are counted in a warning; a hidden folder must not be a class.
    - mmdet.CocoMetric must number the classes as the dataset does; a warning says if it counts the objects of images
      that are not tested.
    """

    priority = 'VERY_HIGH'

    def before_run(self, runner: Runner) -> None:
        """Check all datasets."""
        loops = (runner._train_loop, runner._val_loop, runner._test_loop)
        for loop in [loop for loop in loops if isinstance(loop, BaseLoop)]:
            for dataset in base_datasets(loop.dataloader.dataset):
                if isinstance(dataset, CustomDataset):
                    check_custom_dataset(dataset)
                if mmdet_is_usable():
                    _check_boxes(dataset)
                _check_class_names(dataset)
                _check_labels(dataset)
                check_loaded_images(dataset)
            if mmdet_is_usable():
                _check_metrics(loop)


def _check_class_names(dataset: Any) -> None:
    """Refuse the byte order mark that MMEngine reads as a part of the first name in a file of classes."""
    names = dataset.metainfo.get('classes') if isinstance(dataset, BaseDataset) else None
    if names and str(names[0]).startswith('\ufeff'):
        raise InputError(
            f'Class {names[0][1:]!r} begins with a byte order mark. Save the file of class names in UTF-8 without it.'
        )


def _check_labels(dataset: Any) -> None:
    """Refuse invalid labels of a classification dataset before a run, not at its first validation."""
    if isinstance(dataset, ClassificationDataset):
        with suppress(InputTypeError):  # without labels or class names
            LabelTable.from_dataset(dataset)


def _check_boxes(dataset: BaseDataset) -> None:
    """Report the boxes that mmdet drops from a training set in COCO format."""
    from mmdet.datasets import CocoDataset, CocoPanopticDataset

    from ltmm.datasets.lvis import LVISDataset, report_dropped_boxes
    from ltmm.utils.data_files import read_json

    is_other = isinstance(dataset, (LVISDataset, CocoPanopticDataset))
    if isinstance(dataset, CocoDataset) and not is_other and not dataset.test_mode and is_main_process():
        report_dropped_boxes(read_json(dataset.ann_file, dataset.backend_args), dataset.ann_file, dataset.cat2label)


def _check_metrics(loop: BaseLoop) -> None:
    """Check metrics of mmdet, which take images and labels to be those of their annotation file."""
    from mmdet.evaluation import CocoMetric

    dataset = loop.dataloader.dataset
    for metric in loop.evaluator.metrics if hasattr(loop, 'evaluator') else ():
        annotations = getattr(metric, '_coco_api', None)
        if not isinstance(metric, CocoMetric) or annotations is None:
            continue
        name, classes = f'mmdet.{type(metric).__name__}', list(dataset.metainfo['classes'])
        named = [annotations.cats[i]['name'] for i in annotations.get_cat_ids(cat_names=classes)]
        if named != classes:
            raise InputError(
                f'{name} numbers the classes in the order of its annotation file, {_start(named)}, but those of the '
                f'dataset are {_start(classes)}. Use ltmm.LVISMetric, which follows their names.'
            )
        if len(annotations.imgs) > len(dataset):
            print_log(
                f'{name} counts the objects of all {len(annotations.imgs)} images of its annotation file, but '
                f'{len(dataset)} images are tested: what is in the others counts as missed. Use ltmm.LVISMetric, or a '
                'file of the tested images.',
                'current',
                logging.WARNING,
            )


def _start(names: list[str]) -> str:
    return ', '.join(names[:3]) + ', ...' * (len(names) > 3)
