"""Check that mmdet's COCO datasets label each box as the class that ``metainfo`` names."""

import json
from typing import Any

from mmengine.fileio import get_local_path

from ltmm.utils.environment import mmdet_is_usable
from ltmm.utils.errors import InputError, did_you_mean

__all__ = ['check_coco_names']


def check_coco_names(dataset: Any) -> None:
    """Raise if a CocoDataset of mmdet, through any wrappers, labels boxes by other classes than its ``metainfo``.

    mmdet numbers the categories in the order of the file, whatever the order of ``metainfo=dict(classes=[...])``, and
    leaves out the classes that the file lacks.

    Args:
        dataset: A dataset; any other kind is ignored.
    """
    for inner in [dataset.dataset] if hasattr(dataset, 'dataset') else getattr(dataset, 'datasets', ()):
        check_coco_names(inner)
    if not mmdet_is_usable():
        return
    from mmdet.datasets import CocoDataset

    if not isinstance(dataset, CocoDataset) or type(dataset).load_data_list is not CocoDataset.load_data_list:
        return
    with get_local_path(dataset.ann_file, backend_args=dataset.backend_args) as path:
        in_file = {category['id']: category['name'] for category in _categories(path)}
    classes, labeled = list(dataset.metainfo['classes']), [in_file[i] for i in dataset.cat_ids]
    if classes == labeled:
        return
    if unknown := [name for name in classes if name not in labeled]:
        problem = f'{unknown[0]!r} is no category of it.{did_you_mean(unknown[0], in_file.values())}'
    else:
        i = next(i for i, pair in enumerate(zip(classes, labeled)) if pair[0] != pair[1])
        problem = f'mmdet labels {labeled[i]!r} as class {i}, {classes[i]!r}.'
    raise InputError(
        f'Expected the classes in `metainfo` in the order of the categories in {dataset.ann_file}, but {problem} '
        "Correct them, or use type='ltmm.LVISDataset', which follows `metainfo`."
    )


def _categories(path: str) -> list[dict]:
    """Read the categories of an annotation file, without its annotations."""
    with open(path, encoding='utf-8') as file:
        text = file.read()
    start = text.rfind('"categories"')
    return json.JSONDecoder().raw_decode(text, text.index('[', start))[0]
