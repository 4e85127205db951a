"""Select exemplars of each class: the training annotations that a trained detector is most confident of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.detectors.base_detr import DetectionTransformer
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi, bbox_cxcywh_to_xyxy, bbox_overlaps
from mmengine.config import Config
from mmengine.dist import all_reduce, is_main_process
from mmengine.structures import InstanceData
from mmengine.utils import ProgressBar
from torch import Tensor, nn
from torch.utils.data import DataLoader

from ltmm.datasets.labels.lvis_annotations import read_lvis_annotations
from ltmm.datasets.lvis import LVISDataset
from ltmm.datasets.wrappers.exemplars import BoxTable, Exemplars, choose_exemplars
from ltmm.engine.hooks.checkpoint_compatibility_hook import refuse_missing_parameters
from ltmm.engine.post_process.validation_data import trained_dataset
from ltmm.engine.runner.model_outputs import build_test_loader, build_test_runner, underlying_datasets
from ltmm.registry import STAGES
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError
from ltmm.utils.wrappers import unwrap_model

from .base import Stage

__all__ = ['ExemplarMiningStage', 'annotation_scores', 'mine_exemplars', 'scores_of_proposals', 'scores_of_queries']

MIN_IOU = 0.5  # of a proposal with the annotation it is matched to


@STAGES.register_module()
@dataclass(kw_only=True)
class ExemplarMiningStage(Stage):
    """Select exemplars of the training set with the last checkpoint, see :func:`mine_exemplars`. The result is a json.

    Args:
        score_thr: See :func:`mine_exemplars`.
        max_per_class: See :func:`mine_exemplars`.
    """

    score_thr: float = 0.5
    max_per_class: int = 500

    def __post_init__(self) -> None:
        check(score_thr=(self.score_thr, 'in [0, 1)'), max_per_class=(self.max_per_class, 'int >= 1'))

    @property
    def result(self) -> Path:
        return self.folder / 'exemplars.json'

    def next_checkpoint(self, previous: Path | None) -> Path | None:
        return previous

    def run(self, previous: Path | None) -> None:
        self.log(f'selects exemplars with {previous}')
        mine_exemplars(self.cfg, previous, self.result, self.score_thr, self.max_per_class)


def mine_exemplars(cfg: Config, checkpoint: str | Path, file: Path, score_thr: float, max_per_class: int) -> None:
    """Score every training annotation by a detector trained on it, and write the exemplars of each class.

    The score of an annotation is the score of its class at the query or proposal that matches it, in one pass over the
    training images with the test pipeline. See :func:`~ltmm.datasets.wrappers.exemplars.choose_exemplars` for the
    selection.

    Args:
        cfg: Config of the detector.
        checkpoint: Its checkpoint.
        file: json to write.
        score_thr: Annotations above it are taken from as many images as possible; 0.5 in the authors' code.
        max_per_class: Exemplars per class; 500 in the authors' code.
    """
    train, datasets = trained_dataset(cfg), underlying_datasets(cfg.train_dataloader.dataset)
    runner = build_test_runner(cfg)
    runner.load_checkpoint(str(checkpoint))
    refuse_missing_parameters(runner)
    loader = build_test_loader(cfg, train)
    dataset = loader.dataset
    if len(datasets) > 1 or not isinstance(dataset, LVISDataset):
        names = ', '.join(str(dataset['type']) for dataset in (datasets if len(datasets) > 1 else [train]))
        raise InputTypeError(
            f'Expected exemplars of one ltmm.LVISDataset, but the training data are {names}. A part of a dataset needs '
            'an annotation file of its own: tools/dataset_tools/split.py writes it.'
        )
    content = read_lvis_annotations(dataset.ann_file, dataset.backend_args)
    table = BoxTable.of(content, dataset.cat2label)
    scores = annotation_scores(unwrap_model(runner.model), loader, table)
    if np.isnan(scores).any():
        raise FloatingPointError(f'{checkpoint}: {np.isnan(scores).sum()} of {len(scores)} scores are NaN.')
    rows = choose_exemplars(scores, table.labels, table.image_ids, score_thr, max_per_class)
    ends = np.cumsum(np.bincount(table.labels[rows], minlength=len(dataset.cat2label)))
    of_class = np.split(rows, ends[:-1])
    category_ids = list(dataset.cat2label)
    exemplars = Exemplars(
        {cat_id: table.ids[rows].tolist() for cat_id, rows in zip(category_ids, of_class)},
        {cat_id: scores[rows].tolist() for cat_id, rows in zip(category_ids, of_class)},
        max_per_class,
    )
    if is_main_process():
        exemplars.write(file, dict(zip(category_ids, dataset.metainfo['classes'])))


@torch.no_grad()
def annotation_scores(model: nn.Module, loader: DataLoader, table: BoxTable) -> np.ndarray:
    """Score of the class of each annotation at the query or proposal that matches it, (M,), the same on all ranks.

    Args:
        model: Detector; it is put into evaluation mode.
        loader: All images, see :func:`ltmm.engine.runner.model_outputs.build_test_loader`.
        table: Annotations.
    """
    score = _score_function(model)
    model.eval()
    order, ends = table.by_image()
    rows_of_image = dict(zip(table.image_ids[order[ends - 1]].tolist(), np.split(order, ends[:-1])))
    scores = torch.zeros(len(table), dtype=torch.float64)
    bar = ProgressBar(len(loader)) if is_main_process() else None
    for batch in loader:
        data = model.data_preprocessor(batch, False)
        samples = data['data_samples']
        rows = [rows_of_image.get(sample.img_id, np.zeros(0, dtype=np.int64)) for sample in samples]
        instances = [_instances(table, r, sample, data['inputs']) for r, sample in zip(rows, samples)]
        for r, values in zip(rows, score(model, data['inputs'], samples, instances)):
            scores[torch.from_numpy(r)] = values.double().cpu()
        if bar is not None:
            bar.update()
    if bar is not None:
        print(flush=True)
    all_reduce(scores, 'sum')  # each image is on one rank
    return scores.numpy()


def _score_function(model: nn.Module) -> Callable[..., list[Tensor]]:
    if isinstance(model, DetectionTransformer):
        return scores_of_queries
    if isinstance(model, TwoStageDetector) and isinstance(model.roi_head.bbox_head, BBoxHead):
        return scores_of_proposals
    raise InputTypeError(
        "Expected one of mmdet's DETRs or a detector with one box head such as Faster R-CNN or Mask R-CNN, but got "
        f'{type(model).__name__}.'
    )


def _instances(table: BoxTable, rows: np.ndarray, sample: InstanceData, inputs: Tensor) -> InstanceData:
    """Annotations of an image with boxes in pixels of the network input."""
    scale = inputs.new_tensor(sample.metainfo.get('scale_factor', (1, 1))).repeat(2)  # of width and height
    boxes = inputs.new_tensor(table.boxes[rows]) * scale
    height, width = sample.img_shape[:2]
    boxes = torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))
    return InstanceData(bboxes=boxes, labels=torch.as_tensor(table.labels[rows], device=inputs.device))


def scores_of_queries(
    model: nn.Module, inputs: Tensor, samples: SampleList, instances: Sequence[InstanceData]
) -> list[Tensor]:
    """Score of each annotation's class at the matched query of a DETR, (M_b,) per image; 0 without a query.

    Args:
        model: Detector.
        inputs: (B, 3, H, W).
        samples: Data samples of the B images.
        instances: Boxes in pixels of ``inputs`` and labels of the annotations of each image.
    """
    head = model.bbox_head
    outputs = head(**model.forward_transformer(model.extract_feat(inputs), samples))
    cls_scores, boxes = (output[-1] for output in outputs[:2])  # last layer: (B, Q, C), (B, Q, 4)
    probability = cls_scores.sigmoid() if head.loss_cls.use_sigmoid else cls_scores.softmax(-1)
    result = []
    for sample, instance, cls_score, box, prob in zip(samples, instances, cls_scores, boxes, probability):
        height, width = sample.img_shape[:2]
        box = bbox_cxcywh_to_xyxy(box) * box.new_tensor([width, height, width, height])
        pred = InstanceData(scores=cls_score, bboxes=box)
        gt_inds = head.assigner.assign(pred, instance, img_meta=sample.metainfo).gt_inds  # (Q,), 0: unmatched
        query = gt_inds.nonzero().squeeze(1)
        annotation = gt_inds[query] - 1
        values = prob.new_zeros(len(instance))
        values[annotation] = prob[query, instance.labels[annotation]]
        result.append(values)
    return result


def scores_of_proposals(
    model: nn.Module, inputs: Tensor, samples: SampleList, instances: Sequence[InstanceData]
) -> list[Tensor]:
    """Score of each annotation's class at the proposal of largest IoU, (M_b,) per image; 0 below an IoU of 0.5.

    See :func:`scores_of_queries` for the arguments.
    """
    head = model.roi_head.bbox_head
    features = model.extract_feat(inputs)
    proposals = [p.bboxes for p in model.rpn_head.predict(features, samples, rescale=False)]
    cls_score = model.roi_head._bbox_forward(features, bbox2roi(proposals))['cls_score']  # (N, C) or wider
    if head.custom_cls_channels:
        probability = head.loss_cls.get_activation(cls_score)
    else:
        probability = cls_score.softmax(1)
    result = []
    for instance, boxes, prob in zip(instances, proposals, probability.split([len(p) for p in proposals])):
        if not len(boxes) or not len(instance):
            result.append(prob.new_zeros(len(instance)))
            continue
        overlap, best = bbox_overlaps(instance.bboxes, boxes).max(1)  # (M_b,)
        result.append(prob[best, instance.labels].where(overlap >= MIN_IOU, prob.new_zeros(())))
    return result
