"""What a trained detector is surest of in its own training data."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
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
from ltmm.engine.runner.model_outputs import idle_runner, innermost, loader_as_tested
from ltmm.utils.wrappers import unwrap_model

__all__ = ['annotation_scores', 'mine_exemplars', 'scores_of_proposals', 'scores_of_queries']

MIN_IOU = 0.5  # of a proposal that counts as matched


def mine_exemplars(
    cfg: Config, checkpoint: str | Path, file: Path, score_thr: float = 0.5, max_per_class: int = 500
) -> None:
    """Score every annotation of the training set by a detector trained on it, and write the exemplars of each class.

    The score of an annotation is what the detector gives its class at the query or proposal that matches it, in one
    pass over the training images as the test set is loaded. Which are taken, see
    :func:`~ltmm.datasets.wrappers.exemplars.choose_exemplars`.

    Args:
        cfg: config of the detector, with ``train_dataloader`` and ``test_dataloader``.
        checkpoint: of the detector.
        file: json to write.
        score_thr: annotations above it come in the order of different images first; 0.5 in the authors' code.
        max_per_class: exemplars of a class; 500 in the authors' code.

    Raises:
        FileNotFoundError: no such checkpoint.
        TypeError: neither a DETR nor a detector with one box head, or training data of several sources or of another
            type than ltmm.LVISDataset.
        ValueError: ``score_thr`` outside [0, 1), or ``max_per_class`` below 1.
        FloatingPointError: the detector gives NaN.
    """
    if not 0 <= score_thr < 1:
        raise ValueError(f'Expected `score_thr` to be in [0, 1), but got {score_thr}.')
    if max_per_class < 1:
        raise ValueError(f'Expected `max_per_class` to be at least 1, but got {max_per_class}.')
    leaves = innermost(cfg.train_dataloader.dataset)
    runner = idle_runner(cfg)
    runner.load_checkpoint(str(checkpoint))
    refuse_missing_parameters(runner)
    model = unwrap_model(runner.model)
    loader = loader_as_tested(cfg, leaves[0])
    dataset = loader.dataset
    if len(leaves) > 1 or not isinstance(dataset, LVISDataset):
        names = ', '.join(str(leaf['type']) for leaf in leaves)
        raise TypeError(f'Expected exemplars to be mined from one ltmm.LVISDataset, but the training data are {names}.')
    content = read_lvis_annotations(dataset.ann_file, dataset.backend_args)
    table = BoxTable.of(content, dataset.cat2label)
    scores = annotation_scores(model, loader, table)
    if np.isnan(scores).any():
        raise FloatingPointError(
            f'The detector of {checkpoint} scores {np.isnan(scores).sum()} of {len(scores)} annotations NaN.'
        )
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
    """What a detector gives the class of each annotation where it finds it, (M,), the same on all ranks.

    Args:
        model: the detector; it is put into evaluation mode.
        loader: of all images, see :func:`ltmm.engine.runner.model_outputs.loader_as_tested`.
        table: the annotations.

    Raises:
        TypeError: see :func:`mine_exemplars`.
    """
    if hasattr(model, 'forward_transformer'):
        score = scores_of_queries
    elif isinstance(getattr(getattr(model, 'roi_head', None), 'bbox_head', None), nn.Module) and not isinstance(
        model.roi_head.bbox_head, nn.ModuleList
    ):
        score = scores_of_proposals
    else:
        raise TypeError(
            f"Expected one of mmdet's DETRs, or a detector with one box head such as Faster R-CNN or Mask R-CNN, but "
            f'got {type(model).__name__}.'
        )
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
    all_reduce(scores, 'sum')  # every image was one rank's
    return scores.numpy()


def _instances(table: BoxTable, rows: np.ndarray, sample: InstanceData, inputs: Tensor) -> InstanceData:
    """Annotations of an image, with boxes in the pixels of the network's input."""
    scale = inputs.new_tensor(sample.metainfo.get('scale_factor', (1, 1))).repeat(2)  # of width and height
    boxes = inputs.new_tensor(table.boxes[rows]) * scale
    height, width = sample.img_shape[:2]
    boxes = torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))
    return InstanceData(bboxes=boxes, labels=torch.as_tensor(table.labels[rows], device=inputs.device))


def scores_of_queries(
    model: nn.Module, inputs: Tensor, samples: SampleList, instances: Sequence[InstanceData]
) -> list[Tensor]:
    """Score of each annotation's class at the query of a DETR that is matched to it, (M_b,) for each of B images.

    An annotation that no query is left for has 0.

    Args:
        model: the detector.
        inputs: (B, 3, H, W).
        samples: of the B images.
        instances: boxes in pixels of ``inputs`` and labels of each image's annotations.
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
        gt_inds = head.assigner.assign(pred, instance, img_meta=sample.metainfo).gt_inds  # (Q,), 0 is no annotation
        query = gt_inds.nonzero().squeeze(1)
        annotation = gt_inds[query] - 1
        values = prob.new_zeros(len(instance))
        values[annotation] = prob[query, instance.labels[annotation]]
        result.append(values)
    return result


def scores_of_proposals(
    model: nn.Module, inputs: Tensor, samples: SampleList, instances: Sequence[InstanceData]
) -> list[Tensor]:
    """Score of each annotation's class at the proposal that overlaps it most, (M_b,) for each of B images.

    An annotation that no proposal overlaps by half has 0.

    Args:
        model: the detector.
        inputs: (B, 3, H, W).
        samples: of the B images.
        instances: boxes in pixels of ``inputs`` and labels of each image's annotations.
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
