"""Exemplars: the annotations of each class with the highest scores of a trained detector."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.data_files import read_json
from ltmm.utils.errors import InputError

__all__ = ['BoxTable', 'ExemplarFileError', 'Exemplars', 'choose_exemplars']


class ExemplarFileError(InputError):
    """An exemplar file that cannot be read, or belongs to other data."""


@dataclass(frozen=True, eq=False)
class BoxTable:
    """Annotations of an LVIS file that a detector is trained on: those mmdet keeps, without crowd regions.

    Args:
        ids: Annotation ids, (M,).
        image_ids: Image ids, (M,).
        labels: Class labels, (M,).
        boxes: (x1, y1, x2, y2) in pixels, (M, 4).
    """

    ids: np.ndarray
    image_ids: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray

    @classmethod
    def of(cls, content: Mapping, cat2label: Mapping[int, int]) -> 'BoxTable':
        """Build the table from the content of an annotation file, for the categories of ``cat2label``."""
        annotations = [
            ann
            for ann in content['annotations']
            if ann['category_id'] in cat2label and not ann.get('iscrowd') and not ann.get('ignore')
        ]
        sizes = {image['id']: (image['width'], image['height']) for image in content['images']}
        size = np.array([sizes[ann['image_id']] for ann in annotations]).reshape(-1, 2)
        boxes = np.array([ann['bbox'] for ann in annotations], dtype=np.float64).reshape(-1, 4)
        low, extent = boxes[:, :2], boxes[:, 2:]
        boxes = np.concatenate([low, low + extent], axis=1)
        inside = np.minimum(boxes[:, 2:], size) > np.maximum(low, 0)
        area = np.array([ann['area'] for ann in annotations])
        keep = inside.all(1) & (extent >= 1).all(1) & (area > 0)
        ids, image_ids = (np.array([ann[key] for ann in annotations]) for key in ('id', 'image_id'))
        labels = np.array([cat2label[ann['category_id']] for ann in annotations], dtype=np.int64)
        return cls(ids[keep], image_ids[keep], labels[keep], boxes[keep])

    def __len__(self) -> int:
        return len(self.ids)

    def class_distribution(self, class_names: Sequence[str]) -> ClassDistribution:
        """Count instances and images of all classes."""
        order, ends = self.by_image()
        offsets = np.concatenate([[0], ends])
        names = tuple(class_names)
        return LabelTable(self.labels[order], offsets, len(names), names, is_multi_label=False).class_distribution()

    def by_image(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows sorted by image, (M,), and where the rows of each image end in that order."""
        _, image = np.unique(self.image_ids, return_inverse=True)
        order = np.argsort(image, kind='stable')
        return order, np.cumsum(np.bincount(image))


def choose_exemplars(
    scores: np.ndarray, labels: np.ndarray, image_ids: np.ndarray, score_thr: float, max_per_class: int
) -> np.ndarray:
    """Return the rows of the exemplars, class by class, best first.

    Each class starts with the best annotation of every image, by score, as far as it is above ``score_thr``; all others
    follow by score, up to ``max_per_class``. Ties keep the order of the rows. All arrays are (N,).
    """
    _, image = np.unique(image_ids, return_inverse=True)
    order = np.lexsort((-scores, image, labels))
    pair = labels[order] * (image.max(initial=0) + 1) + image[order]
    is_first = np.zeros(len(scores), dtype=bool)  # the best of its class in its image
    is_first[order[np.flatnonzero(np.diff(pair, prepend=-1))]] = True
    leads = is_first & (scores > score_thr)
    order = np.lexsort((-scores, ~leads, labels))
    sorted_labels = labels[order]
    rank = np.arange(len(order)) - np.searchsorted(sorted_labels, sorted_labels)
    return order[rank < max_per_class]


@dataclass(frozen=True, eq=False)
class Exemplars:
    """Exemplars of each class, best first.

    Args:
        annotation_ids: {category id: annotation ids}.
        scores: {category id: scores}.
        max_per_class: Limit that the exemplars were cut to.
    """

    annotation_ids: Mapping[int, Sequence[int]]
    scores: Mapping[int, Sequence[float]]
    max_per_class: int

    def write(self, path: Path, category_names: Mapping[int, str]) -> None:
        """Write a json file atomically; ``category_names`` are {category id: name}."""
        categories = [
            dict(
                id=cat_id,
                name=name,
                annotation_ids=list(self.annotation_ids[cat_id]),
                scores=[round(float(score), 6) for score in self.scores[cat_id]],
            )
            for cat_id, name in category_names.items()
        ]
        content = json.dumps(dict(max_per_class=self.max_per_class, categories=categories))
        AtomicLocalBackend().put(content.encode(), path)

    @classmethod
    def read(cls, path: str | Path) -> 'Exemplars':
        """Read a file written by :meth:`write`."""
        try:
            content = read_json(path)
            categories = {category['id']: category for category in content['categories']}
            ids = {cat_id: category['annotation_ids'] for cat_id, category in categories.items()}
            scores = {cat_id: category['scores'] for cat_id, category in categories.items()}
            return cls(ids, scores, content['max_per_class'])
        except FileNotFoundError:
            raise FileNotFoundError(
                f'Exemplar file {path} does not exist. Run python tools/train_stages.py CONFIG, or set '
                'train_dataloader.dataset.exemplar_file by --cfg-options.'
            ) from None
        except (ValueError, KeyError, TypeError, RecursionError) as e:
            raise ExemplarFileError(
                f'{path} is not an exemplar file ({type(e).__name__}: {e}). Delete it and run tools/train_stages.py.'
            ) from None
