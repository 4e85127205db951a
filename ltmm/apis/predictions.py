"""The prediction for an image as a record, a line of text and a drawing; one class per task."""

from collections.abc import Mapping
from typing import Any, ClassVar

import mmcv
import numpy as np
import torch
from mmpretrain.structures import DataSample
from mmpretrain.visualization import UniversalVisualizer

from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .trained_model import TrainedModel

__all__ = ['BoxPredictions', 'MultiLabelPredictions', 'SingleLabelPredictions', 'predictions_of']

SHORT_EDGE = 256  # pixels; smaller images are enlarged to draw a text on them


class SingleLabelPredictions:
    """The classes with the highest scores.

    Args:
        trained: The model.
        top_k: How many, if there are as many classes.
    """

    options: ClassVar[tuple[str, ...]] = ('top_k',)

    def __init__(self, trained: TrainedModel, top_k: int = 5) -> None:
        check(top_k=(top_k, 'int >= 1'))
        self.trained = trained
        self.top_k = top_k
        self._visualizer: Any = None

    def record(self, path: str, sample: Any) -> dict[str, Any]:
        """Return plain values: ``image``, ``predictions``, and of several experts ``agreement`` and ``experts``.

        Args:
            path: Of the image.
            sample: What the model predicts.
        """
        record = dict(image=path, predictions=[self._class(sample, label) for label in self._labels(sample)])
        if 'expert_scores' in sample:  # (E, C)
            own = sample.expert_scores.argmax(1)
            record['agreement'] = (own == record['predictions'][0]['label']).double().mean().item()
            record['experts'] = [self.trained.name_of(int(label)) for label in own]
        if 'uncertainty' in sample:
            record['uncertainty'] = float(sample.uncertainty)
        if 'pred_set' in sample:
            record['set'] = [self.trained.name_of(label) for label in sample.pred_set.nonzero()[:, 0].tolist()]
        return record

    def rows(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the rows of a record in a table; each has the same columns."""
        row = dict(image=record['image'])
        for rank, item in enumerate(record['predictions'], 1):
            row |= {f'label_{rank}': item['label'], f'name_{rank}': item['name'], f'score_{rank}': item['score']}
        row |= {key: record[key] for key in ('agreement', 'uncertainty') if key in record}
        row |= {key: '|'.join(record[key]) for key in ('experts', 'set') if key in record}
        return [row]

    def line(self, record: Mapping[str, Any]) -> str:
        """Return a record as one line of text."""
        text = ', '.join(f'{item["name"]} {item["score"]:.3f}' for item in record['predictions']) or 'nothing'
        agreement = f' (experts agree: {record["agreement"]:.0%})' if 'agreement' in record else ''
        return f'{record["image"]}: {text}{agreement}'

    def draw(self, image: np.ndarray, sample: Any) -> np.ndarray:
        """Return a copy of an image with the prediction on it.

        Args:
            image: (H, W, 3), RGB.
            sample: What the model predicts.
        """
        if self._visualizer is None:
            self._visualizer = UniversalVisualizer()
        shown = DataSample().set_pred_score(sample.pred_score.cpu()).set_pred_label(self._labels(sample))
        names = [self.trained.name_of(label) for label in range(len(sample.pred_score))]
        resize = SHORT_EDGE if min(image.shape[:2]) < SHORT_EDGE else None
        return self._visualizer.visualize_cls(image, shown, classes=names, resize=resize, draw_gt=False)

    def _labels(self, sample: Any) -> list[int]:
        return sample.pred_score.topk(min(self.top_k, len(sample.pred_score))).indices.tolist()

    def _class(self, sample: Any, label: int) -> dict[str, Any]:
        item = dict(label=label, name=self.trained.name_of(label), score=sample.pred_score[label].item())
        return _with_images(item, self.trained, label)


class MultiLabelPredictions(SingleLabelPredictions):
    """All classes with a score of at least a threshold, highest first.

    Args:
        trained: The model.
        threshold: The threshold.
    """

    options = ('threshold',)

    def __init__(self, trained: TrainedModel, threshold: float = 0.5) -> None:
        super().__init__(trained)
        check(threshold=(threshold, 'in [0, 1]'))
        self.threshold = threshold

    def rows(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        columns = dict(labels='label', names='name', scores='score')
        row = {key: '|'.join(str(item[name]) for item in record['predictions']) for key, name in columns.items()}
        return [dict(image=record['image'], **row)]

    def _labels(self, sample: Any) -> list[int]:
        scores, order = sample.pred_score.sort(descending=True)
        return order[scores >= self.threshold].tolist()


class BoxPredictions:
    """Boxes, and masks of a model that has them, with a score of at least a threshold.

    Args:
        trained: The model.
        threshold: The threshold.
    """

    options: ClassVar[tuple[str, ...]] = ('threshold',)

    def __init__(self, trained: TrainedModel, threshold: float = 0.3) -> None:
        check(threshold=(threshold, 'in [0, 1]'))
        self.trained, self.threshold = trained, threshold
        self._visualizer: Any = None

    def record(self, path: str, sample: Any) -> dict[str, Any]:
        """Return plain values: ``image``, ``height``, ``width``, ``boxes``; masks are run-length codes of COCO.

        Args:
            path: Of the image.
            sample: What the model predicts.
        """
        found = sample.pred_instances[sample.pred_instances.scores >= self.threshold].cpu()
        boxes = []
        for i, (label, score, box) in enumerate(zip(found.labels.tolist(), found.scores.tolist(), found.bboxes)):
            item = dict(label=label, name=self.trained.name_of(label), score=score, box=box.tolist())
            if 'masks' in found:
                item['mask'] = _run_lengths(found.masks[i])
            boxes.append(_with_images(item, self.trained, label))
        height, width = sample.ori_shape[:2]
        return dict(image=path, height=height, width=width, boxes=boxes)

    def rows(self, record: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return one row per box; one without label for an image without boxes."""
        rows = [
            dict(label=item['label'], name=item['name'], score=item['score'], **dict(zip(SIDES, item['box'])))
            for item in record['boxes']
        ]
        empty = dict.fromkeys(('label', 'name', 'score', *SIDES), '')
        return [dict(image=record['image'], **row) for row in rows or [empty]]

    def line(self, record: Mapping[str, Any]) -> str:
        """Return a record as one line of text."""
        text = ', '.join(f'{item["name"]} {item["score"]:.3f}' for item in record['boxes'])
        return f'{record["image"]}: {text or "nothing"}'

    def draw(self, image: np.ndarray, sample: Any) -> np.ndarray:
        """Return a copy of an image with boxes and masks on it; see :meth:`SingleLabelPredictions.draw`."""
        from mmdet.visualization import DetLocalVisualizer  # needs mmdet, as the detector does

        if self._visualizer is None:
            self._visualizer = DetLocalVisualizer()
            self._visualizer.dataset_meta = dict(classes=self.trained.class_names, palette='random')
        scale = max(1, SHORT_EDGE / min(image.shape[:2]))
        if scale > 1:
            image, sample = mmcv.imrescale(image, scale), _enlarged(sample, scale)
        self._visualizer.add_datasample('', image, sample.cpu(), draw_gt=False, pred_score_thr=self.threshold)
        return self._visualizer.get_image()


SIDES = ('x1', 'y1', 'x2', 'y2')
KINDS = dict(single_label=SingleLabelPredictions, multi_label=MultiLabelPredictions, detection=BoxPredictions)


def predictions_of(trained: TrainedModel, **options: Any) -> SingleLabelPredictions | BoxPredictions:
    """Build the class for the task of a model.

    Args:
        trained: The model.
        options: ``top_k`` (one label per image) or ``threshold`` (several labels, boxes).
    """
    kind = KINDS[trained.task]
    for key in options:
        if key not in kind.options:
            raise InputError(
                f'--{key.replace("_", "-")} is not for a model with {trained.task.replace("_", " ")}: it takes '
                f'--{kind.options[0].replace("_", "-")}.'
            )
    return kind(trained, **options)


def _with_images(item: dict[str, Any], trained: TrainedModel, label: int) -> dict[str, Any]:
    images = trained.images_of(label)
    return item if images is None else item | dict(train_images=images)


def _run_lengths(mask: torch.Tensor) -> dict[str, Any]:
    from mmdet.structures.mask import encode_mask_results

    (code,) = encode_mask_results([mask.numpy()])
    return dict(size=list(code['size']), counts=code['counts'].decode())


def _enlarged(sample: Any, scale: float) -> Any:
    """Scale the boxes and masks of a copy of a sample."""
    sample = sample.clone()
    instances = sample.pred_instances
    instances.bboxes = instances.bboxes * scale
    if 'masks' in instances:
        height, width = (round(side * scale) for side in instances.masks.shape[1:])
        masks = torch.nn.functional.interpolate(instances.masks[:, None].float(), (height, width))
        instances.masks = masks[:, 0].bool()
    return sample
