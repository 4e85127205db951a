"""Exemplars: for each class, the annotations that a trained detector is surest of."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels.label_table import LabelTable
from ltmm.utils.atomic_backend import AtomicLocalBackend
from ltmm.utils.errors import InputError

__all__ = ['BoxTable', 'ExemplarFileError', 'Exemplars', 'choose_exemplars']


class ExemplarFileError(InputError):
    """An exemplar file that cannot be read, or is not of the data at hand."""


@dataclass(frozen=True, eq=False)
class BoxTable:
    """The annotations of an LVIS file that a detector can learn from: those mmdet keeps, without crowds.

    Args:
        ids: of the annotations, (M,).
        image_ids: (M,).
        labels: (M,).
        boxes: (x1, y1, x2, y2) in pixels, (M, 4).
    """

    ids: np.ndarray
    image_ids: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray

    @classmethod
    def of(cls, content: Mapping, cat2label: Mapping[int, int]) -> 'BoxTable':
        """The table of an annotation file.

        Args:
            content: see :func:`read_lvis_annotations`.
            cat2label: label of each category id; other categories are left out.
        """
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
        """Instances and images per class.

        Args:
            class_names: in label order, those without a box included.
        """
        order, ends = self.by_image()
        offsets = np.concatenate([[0], ends])
        names = tuple(class_names)
        return LabelTable(self.labels[order], offsets, len(names), names, is_multi_label=False).class_distribution()

    def by_image(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows sorted by image, (M,), and where the rows of each image end in that order."""
        _, image = np.unique(self.image_ids, return_inverse=True)
        order = np.argsort(image, kind='stable')
        return order, np.cumsum(np.bincount(image))


def choose_exemplars(
    scores: np.ndarray, labels: np.ndarray, image_ids: np.ndarray, score_thr: float, max_per_class: int
) -> np.ndarray:
    """Rows of the exemplars, class after class, best first.

    Of each class come first the surest annotation of every image, by score, as long as the score is above
    ``score_thr``; then all others, by score. Ties keep the order of the rows.

    Args:
        scores: of N annotations, (N,).
        labels: (N,).
        image_ids: (N,).
        score_thr: in [0, 1].
        max_per_class: exemplars of a class.
    """
    _, image = np.unique(image_ids, return_inverse=True)
    order = np.lexsort((-scores, image, labels))
    pair = labels[order] * (image.max(initial=0) + 1) + image[order]
    is_first = np.zeros(len(scores), dtype=bool)  # the surest of its class in its image
    is_first[order[np.flatnonzero(np.diff(pair, prepend=-1))]] = True
    leads = is_first & (scores > score_thr)
    order = np.lexsort((-scores, ~leads, labels))
    of_class = labels[order]
    rank = np.arange(len(order)) - np.searchsorted(of_class, of_class)
    return order[rank < max_per_class]


@dataclass(frozen=True, eq=False)
class Exemplars:
    """The exemplars of each class, best first.

    Args:
        annotation_ids: {category id: (E_c,)}; categories without a box have none.
        scores: {category id: (E_c,)}.
        max_per_class: how many a class could have had.
    """

    annotation_ids: Mapping[int, Sequence[int]]
    scores: Mapping[int, Sequence[float]]
    max_per_class: int

    def write(self, path: Path, category_names: Mapping[int, str]) -> None:
        """Write a json, whole or not at all.

        Args:
            path: of the file.
            category_names: {category id: name}, for the reader.
        """
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
        """Read what :meth:`write` has written.

        Raises:
            FileNotFoundError: no such file; says where it comes from.
            ExemplarFileError: another kind of file.
        """
        try:
            content = json.loads(Path(path).read_text(encoding='utf-8'))
            categories = {category['id']: category for category in content['categories']}
            ids = {cat_id: category['annotation_ids'] for cat_id, category in categories.items()}
            scores = {cat_id: category['scores'] for cat_id, category in categories.items()}
            return cls(ids, scores, content['max_per_class'])
        except FileNotFoundError:
            raise FileNotFoundError(
                f'Exemplar file {path} does not exist. Run all stages with python tools/train_stages.py CONFIG, or '
                'give a file of an earlier run by --cfg-options train_dataloader.dataset.exemplar_file=FILE.'
            ) from None
        except (ValueError, KeyError, TypeError) as e:
            raise ExemplarFileError(
                f'{path} is no exemplar file ({type(e).__name__}: {e}). Delete it, and run tools/train_stages.py again.'
            ) from None
