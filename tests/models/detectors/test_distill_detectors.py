"""Detectors distilled from a frozen teacher, against the losses computed step by step."""

import copy

import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from toy_lvis import SIZE, detector_config, lvis_content, write_lvis
from toy_stepwise import KD, deformable_detr

from ltmm import ClassDistribution
from ltmm.registry import MODELS

DISTRIBUTION = ClassDistribution([8, 1, 3, 1], num_images=8)  # the head classes are 0 and 2
KINDS = pytest.mark.parametrize('kind', ['detr', 'two_stage'])


@pytest.fixture(autouse=True)
def in_scope_mmdet():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(scope='module')
def two_stage_cfg(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    write_lvis(folder, lvis_content(2))
    cfg = detector_config('', folder).model.to_dict()
    del cfg['roi_head']['mask_head'], cfg['roi_head']['mask_roi_extractor']  # the samples have no masks
    cfg['backbone']['norm_eval'] = True  # as in the teacher
    return ConfigDict(cfg)


@pytest.fixture
def build(tmp_path, two_stage_cfg):
    """Builds the student; ``trained`` gives it a teacher with weights of its own."""

    def _build(kind, trained=True, checkpoint=None):
        plain = ConfigDict(deformable_detr()) if kind == 'detr' else copy.deepcopy(two_stage_cfg)
        torch.manual_seed(1)
        teacher = MODELS.build(copy.deepcopy(plain))
        teacher.init_weights()  # level_embed would be whatever was in the memory
        for branch in teacher.modules():  # the classifiers start all alike
            if isinstance(branch, torch.nn.Linear):
                torch.nn.init.normal_(branch.weight, std=0.1)
        torch.save(dict(state_dict=teacher.state_dict()), tmp_path / 'teacher.pth')
        name = 'ltmm.DistillDeformableDETR' if kind == 'detr' else 'ltmm.DistillTwoStageDetector'
        student = MODELS.build(
            plain | dict(type=name, teacher_checkpoint=str(checkpoint or tmp_path / 'teacher.pth'), **KD)
        )
        for module in student.modules():
            if hasattr(module, 'set_class_distribution'):
                module.set_class_distribution(DISTRIBUTION)
        if trained:
            student.init_weights()
        return student.train()

    return _build


def batch(height=SIZE, width=SIZE):
    """Two images, the second smaller than the batch."""
    generator = torch.Generator().manual_seed(0)
    boxes = (torch.tensor([[4.0, 6, 40, 50], [30, 20, 60, 62]]), torch.tensor([[0.0, 0, 30, 40]]))
    samples = []
    for box, label, shape in zip(boxes, ([0, 1], [2]), ((height, width), (48, 40))):
        sample = DetDataSample(gt_instances=InstanceData(bboxes=box, labels=torch.tensor(label)))
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))
        padded = dict(batch_input_shape=(height, width), pad_shape=(height, width))
        sample.set_metainfo(dict(img_shape=shape, ori_shape=shape, scale_factor=(1, 1), **padded))
        samples.append(sample)
    return torch.randn(2, 3, height, width, generator=generator), samples


@KINDS
def test_feature_loss_uses_neck_features_and_boxes_of_the_padded_batch(build, kind):
    model = build(kind)
    images, samples = batch()
    losses = model.loss(images, samples)
    model.eval()
    with torch.no_grad():
        features, teacher_features = model.extract_feat(images), model.teacher.extract_feat(images)
    boxes = [sample.gt_instances.bboxes / SIZE for sample in samples]
    expected = model.loss_feature(features, teacher_features, boxes, [torch.tensor([0, 1]), torch.tensor([2])])
    assert expected > 0
    torch.testing.assert_close(losses['loss_feature'].detach(), expected)


def test_kd_loss_of_every_decoder_layer(build):
    model = build('detr')
    images, samples = batch()
    losses = model.loss(images, copy.deepcopy(samples))
    teacher = model.teacher
    with torch.no_grad():
        states = teacher.forward_transformer(teacher.extract_feat(images), samples)['hidden_states']
    assert states.shape == (2, 2, 10, 256)
    for layer, name in enumerate(('d0.loss_kd', 'loss_kd')):
        answer = teacher.bbox_head.cls_branches[layer](states[layer])[..., [0, 2]].log_softmax(-1)
        learnt = model.bbox_head.cls_branches[layer](states[layer])[..., [0, 2]].log_softmax(-1)
        expected = 0.1 * (answer.exp() * (answer - learnt)).sum() / 20
        assert expected > 0
        torch.testing.assert_close(losses[name], expected, rtol=1e-4, atol=1e-6)


def test_kd_loss_on_the_proposals_of_the_teacher(build):
    model = build('two_stage')
    images, samples = batch()
    losses = model.loss(images, copy.deepcopy(samples))
    teacher = model.teacher
    with torch.no_grad():
        features = teacher.extract_feat(images)
        rois = bbox2roi([p.bboxes for p in teacher.rpn_head.predict(features, samples, rescale=False)])
        pooled = teacher.roi_head.bbox_roi_extractor(features[:4], rois)
        answer, learnt = (m.roi_head.bbox_head(pooled)[0][:, [0, 2]].log_softmax(1) for m in (teacher, model))
    expected = 0.1 * (answer.exp() * (answer - learnt)).sum(1).mean()
    assert expected > 0
    torch.testing.assert_close(losses['loss_kd'].detach(), expected)


@KINDS
def test_detection_losses_are_unchanged(build, kind):
    model = build(kind)
    images, samples = batch()
    torch.manual_seed(0)
    losses = model.loss(images, copy.deepcopy(samples))
    torch.manual_seed(0)
    expected = model.detector.loss(model, images, copy.deepcopy(samples))
    assert set(losses) - set(expected) == {'loss_feature', 'loss_kd'} | ({'d0.loss_kd'} if kind == 'detr' else set())
    torch.testing.assert_close({name: losses[name] for name in expected}, expected)


@KINDS
def test_distillation_losses_are_zero_for_equal_weights(build, kind):
    model = build(kind)
    weights = {name: value for name, value in model.teacher.state_dict().items() if 'class_distribution' not in name}
    model.load_state_dict(weights, strict=False)
    losses = model.loss(*batch())
    extra = [value for name, value in losses.items() if 'kd' in name or 'feature' in name]
    assert sum(extra).item() == pytest.approx(0, abs=1e-6)


@KINDS
def test_teacher_is_frozen_and_not_saved(build, kind):
    model = build(kind)
    before = copy.deepcopy(model.teacher.state_dict())
    losses = model.loss(*batch())
    total = sum(sum(value) if isinstance(value, list) else value for name, value in losses.items() if 'loss' in name)
    total.backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    assert not any(module.training for module in model.teacher.modules())
    torch.testing.assert_close(model.teacher.state_dict(), before, rtol=0, atol=0)
    assert not any('teacher' in name for name in model.state_dict())
    plain = {name for name in model.state_dict() if not name.startswith(('loss_kd.', 'loss_feature.'))}
    assert plain == set(before)


@KINDS
def test_detections_are_unchanged(build, kind):
    model = build(kind).eval()
    images, samples = batch()
    with torch.no_grad():
        ours = model.predict(images, copy.deepcopy(samples))
        theirs = model.detector.predict(model, images, copy.deepcopy(samples))
    torch.testing.assert_close(ours[0].pred_instances.scores, theirs[0].pred_instances.scores)
    assert model._features is None  # nothing is kept


@KINDS
def test_an_untrained_teacher_is_refused(build, kind):
    model = build(kind, trained=False, checkpoint='stage://teacher')
    with pytest.raises(RuntimeError, match='teacher has no trained weights yet'):
        model.loss(*batch())
    with pytest.raises(FileNotFoundError, match='stage://teacher'):
        model.init_weights()


def test_several_box_heads_are_refused(two_stage_cfg):
    cfg = copy.deepcopy(two_stage_cfg)
    head, extractor = cfg.roi_head.bbox_head, cfg.roi_head.bbox_roi_extractor
    cfg.train_cfg.rcnn = [cfg.train_cfg.rcnn] * 2
    cfg.roi_head = dict(
        type='CascadeRoIHead',
        num_stages=2,
        stage_loss_weights=[1, 0.5],
        bbox_roi_extractor=extractor,
        bbox_head=[head, head],
    )
    cfg.update(type='ltmm.DistillTwoStageDetector', teacher_checkpoint='', **KD)
    with pytest.raises(
        TypeError, match='one box head, as Faster R-CNN and Mask R-CNN have, but got CascadeRoIHead with 2'
    ):
        MODELS.build(cfg)
