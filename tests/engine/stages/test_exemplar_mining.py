"""Scores of annotations at their matched queries and proposals."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import bbox_overlaps
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from scipy.optimize import linear_sum_assignment
from toy_lvis import CATEGORY_IDS, SIZE, detector_config, lvis_content, write_lvis
from toy_stepwise import deformable_detr

from ltmm.datasets.wrappers.exemplars import BoxTable, Exemplars, choose_exemplars
from ltmm.engine.runner.model_outputs import build_test_loader
from ltmm.engine.stages.exemplar_mining import ExemplarMiningStage, annotation_scores, mine_exemplars
from ltmm.registry import MODELS

CAT2LABEL = {cat_id: label for label, cat_id in enumerate(CATEGORY_IDS)}
INPUT = 96  # pixels of the network's input, 1.5 times those of the images


@pytest.fixture(autouse=True)
def in_scope_mmdet():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture
def cfg(tmp_path):
    content = lvis_content(4)
    content['annotations'][0]['iscrowd'] = 1
    write_lvis(tmp_path / 'data', content)
    cfg = detector_config(tmp_path / 'work', tmp_path / 'data')
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        next(step for step in loader.dataset.pipeline if step.type == 'Resize').scale = (INPUT, INPUT)
    cfg.train_dataloader.dataset.filter_cfg = dict(filter_empty_gt=True)
    cfg.content = content
    return cfg


def build(model):
    torch.manual_seed(0)
    model = MODELS.build(ConfigDict(model))
    model.init_weights()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=0.1)
    return model.eval()


def images_of(cfg, model):
    """Each image alone: its input, its sample, and its annotations' boxes in input pixels, labels, and rows."""
    table = BoxTable.of(cfg.content, CAT2LABEL)
    for batch in build_test_loader(cfg, cfg.train_dataloader.dataset):
        for image, sample in zip(batch['inputs'], batch['data_samples']):
            data = model.data_preprocessor(dict(inputs=[image], data_samples=[sample]), False)
            rows = np.flatnonzero(table.image_ids == sample.img_id)
            boxes = torch.tensor(table.boxes[rows] * INPUT / SIZE, dtype=torch.float32)
            yield data['inputs'], data['data_samples'], boxes, table.labels[rows], rows


def test_score_is_that_of_the_matched_query(cfg):
    model = build(deformable_detr(num_queries=5))
    table = BoxTable.of(cfg.content, CAT2LABEL)
    scores = annotation_scores(model, build_test_loader(cfg, cfg.train_dataloader.dataset), table)
    expected = np.full(len(table), np.nan)
    for inputs, samples, boxes, labels, rows in images_of(cfg, model):
        with torch.no_grad():
            logits, centres = model.bbox_head(**model.forward_transformer(model.extract_feat(inputs), samples))
        logits, centres = logits[-1, 0], centres[-1, 0]
        corners = torch.cat([centres[:, :2] - centres[:, 2:] / 2, centres[:, :2] + centres[:, 2:] / 2], 1)
        shares = boxes / INPUT
        own = torch.cat([(shares[:, :2] + shares[:, 2:]) / 2, shares[:, 2:] - shares[:, :2]], 1)
        p = logits.sigmoid()
        focal = -0.25 * (1 - p) ** 2 * (p + 1e-12).log() + 0.75 * p**2 * (1 - p + 1e-12).log()
        cost = 2 * focal[:, labels] + 5 * torch.cdist(centres, own, p=1)
        cost -= 2 * bbox_overlaps(corners * INPUT, boxes, mode='giou')
        for query, annotation in zip(*linear_sum_assignment(cost.numpy())):
            expected[rows[annotation]] = p[query, labels[annotation]]
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


def test_annotation_without_query_scores_zero(cfg):
    model = build(deformable_detr(num_queries=1))
    table = BoxTable.of(cfg.content, CAT2LABEL)
    scores = annotation_scores(model, build_test_loader(cfg, cfg.train_dataloader.dataset), table)
    for image in set(table.image_ids.tolist()):
        assert (scores[table.image_ids == image] > 0).sum() == 1


@pytest.mark.parametrize('loss', ['ltmm.EQLLoss', 'CrossEntropyLoss'])
def test_score_is_that_of_the_proposal_of_largest_iou(cfg, loss):
    if loss == 'CrossEntropyLoss':
        cfg.model.roi_head.bbox_head.loss_cls = dict(type=loss)
    cfg.model.test_cfg.rpn.max_per_img = 200
    model = build(cfg.model)
    table = BoxTable.of(cfg.content, CAT2LABEL)
    scores = annotation_scores(model, build_test_loader(cfg, cfg.train_dataloader.dataset), table)
    num_zero = 0
    for inputs, samples, boxes, labels, rows in images_of(cfg, model):
        with torch.no_grad():
            features = model.extract_feat(inputs)
            (proposals,) = model.rpn_head.predict(features, samples, rescale=False)
            rois = torch.cat([torch.zeros(len(proposals), 1), proposals.bboxes], 1)
            logits = model.roi_head.bbox_head(model.roi_head.bbox_roi_extractor(features[:4], rois))[0]
        p = logits.sigmoid() if loss == 'ltmm.EQLLoss' else logits.softmax(1)
        for row, box, label in zip(rows, boxes, labels):
            overlaps = bbox_overlaps(box[None], proposals.bboxes)[0]
            expected = p[overlaps.argmax(), label].item() if overlaps.max() >= 0.5 else 0
            assert scores[row] == pytest.approx(expected, rel=1e-4)
            num_zero += expected == 0
    assert num_zero < len(table)


def test_exemplar_file(cfg, tmp_path, monkeypatch):
    table = BoxTable.of(cfg.content, CAT2LABEL)
    scores = np.linspace(0.2, 0.9, len(table))
    monkeypatch.setattr('ltmm.engine.stages.exemplar_mining.annotation_scores', lambda *args: scores)
    monkeypatch.setattr(Runner, 'load_checkpoint', lambda *args, **kwargs: None)
    mine_exemplars(cfg, 'checkpoint.pth', tmp_path / 'exemplars.json', score_thr=0.6, max_per_class=2)
    exemplars = Exemplars.read(tmp_path / 'exemplars.json')
    rows = choose_exemplars(scores, table.labels, table.image_ids, 0.6, 2)
    for cat_id, label in CAT2LABEL.items():
        own = rows[table.labels[rows] == label]
        assert exemplars.annotation_ids[cat_id] == table.ids[own].tolist()
        assert exemplars.scores[cat_id] == scores[own].round(6).tolist()
    assert exemplars.max_per_class == 2

    scores = scores * np.nan
    with pytest.raises(FloatingPointError, match=r'checkpoint.pth: \d+ of \d+ scores are NaN'):
        mine_exemplars(cfg, 'checkpoint.pth', tmp_path / 'exemplars.json', 0.5, 500)


@pytest.mark.parametrize('settings', [dict(score_thr=1.0), dict(max_per_class=0)])
def test_wrong_settings_are_refused(settings, tmp_path):
    with pytest.raises(ValueError, match=next(iter(settings))):
        ExemplarMiningStage(cfg=Config(), folder=tmp_path, name='exemplar_mining', **settings)


def test_other_detectors_are_refused():
    model = torch.nn.Module()
    model.bbox_head = torch.nn.Linear(1, 1)
    with pytest.raises(TypeError, match='but got Module'):
        annotation_scores(model, [], BoxTable.of(lvis_content(), CAT2LABEL))


def test_several_datasets_are_refused(cfg, monkeypatch):
    monkeypatch.setattr(Runner, 'load_checkpoint', lambda *args, **kwargs: None)
    part = cfg.train_dataloader.dataset.to_dict()
    cfg.train_dataloader.dataset = ConfigDict(type='ConcatDataset', datasets=[part, part])
    with pytest.raises(TypeError, match=r'one ltmm.LVISDataset, but the training data are ltmm.LVISDataset, ltmm.LV'):
        mine_exemplars(cfg, 'checkpoint.pth', 'exemplars.json', 0.5, 500)


def test_part_of_a_dataset_is_refused(cfg, monkeypatch):
    monkeypatch.setattr(Runner, 'load_checkpoint', lambda *args, **kwargs: None)
    part = cfg.train_dataloader.dataset.to_dict()
    cfg.train_dataloader.dataset = ConfigDict(type='ltmm.Holdout', part='train', dataset=part)
    with pytest.raises(TypeError, match='training data are ltmm.Holdout. A part .* an annotation file of its own'):
        mine_exemplars(cfg, 'checkpoint.pth', 'exemplars.json', 0.5, 500)
