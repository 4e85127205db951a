import copy

import pytest
import torch
from mmengine.config import Config
from mmpretrain.structures import DataSample

from ltmm.registry import MODELS

RIDE = dict(diversity_factor=-0.2, reweight_factor=0.02, reweight_epoch=None, class_counts=[9, 4, 1])


def network(num_experts: int, num_classes: int = 3, loss: str = 'RIDELoss') -> dict:
    return dict(
        type='mmpretrain.ImageClassifier',
        backbone=dict(type='ltmm.MultiExpertResNetCIFAR', depth=8, channels=(4, 4, 8), num_experts=num_experts),
        head=dict(
            type='ltmm.MultiExpertClsHead',
            num_classes=num_classes,
            in_channels=8,
            num_experts=num_experts,
            classifier=dict(type='ltmm.NormedLinear', scale=30),
            loss=dict(RIDE, type=f'ltmm.{loss}') if num_classes == 3 else dict(type='ltmm.SADELoss'),
        ),
    )


@pytest.fixture
def checkpoint(tmp_path):
    """A trained teacher of three experts."""
    teacher = MODELS.build(network(3))
    teacher(torch.randn(8, 3, 8, 8))  # moves the running statistics
    torch.save(dict(state_dict=teacher.state_dict()), tmp_path / 'teacher.pth')
    return str(tmp_path / 'teacher.pth')


def student(checkpoint, teacher=None, loss='RIDEDistillLoss'):
    cfg = network(2, loss=loss) | dict(type='ltmm.DistillClassifier', teacher=teacher or network(3))
    return MODELS.build(dict(cfg, teacher_checkpoint=checkpoint))


SAMPLES = [DataSample().set_gt_label(label) for label in (0, 1, 2, 0)]


def test_the_student_learns_from_the_teachers_logits(checkpoint):
    model = student(checkpoint)
    model.init_weights()
    images = torch.randn(4, 3, 8, 8)
    teacher = MODELS.build(network(3))
    teacher.load_state_dict(torch.load(checkpoint, weights_only=True)['state_dict'])
    losses = model.loss(images, copy.deepcopy(SAMPLES))
    expected = model.head.loss(model.extract_feat(images), SAMPLES, teacher_logits=teacher.eval()(images))
    torch.testing.assert_close(losses, expected)
    assert set(losses) == {'loss_cls', 'loss_diversity', 'loss_distill'}


def test_every_parameter_of_the_student_learns_and_is_all_that_is_saved(checkpoint):
    model = student(checkpoint)
    model.init_weights()
    sum(model.loss(torch.randn(4, 3, 8, 8), SAMPLES).values()).backward()
    assert all(p.grad is not None for p in model.parameters())  # DDP finds no unused parameter
    assert model.state_dict().keys() == MODELS.build(network(2, loss='RIDEDistillLoss')).state_dict().keys()


def test_teacher_from_a_config_file(checkpoint, tmp_path):
    Config(dict(model=network(3))).dump(tmp_path / 'teacher.py')
    model = student(checkpoint, str(tmp_path / 'teacher.py'))
    model.init_weights()
    assert model.teacher.head.num_experts == 3


def test_a_test_needs_no_checkpoint_of_the_teacher():
    model = student('no/such/file.pth')
    assert model.eval()(torch.randn(2, 3, 8, 8)).shape == (2, 3)
    with pytest.raises(RuntimeError, match='teacher has no trained weights'):
        model.loss(torch.randn(4, 3, 8, 8), SAMPLES)
    with pytest.raises(FileNotFoundError, match='no/such/file.pth'):
        model.init_weights()


def test_a_teacher_of_other_classes_is_refused_at_build(checkpoint):
    with pytest.raises(ValueError, match='teacher with 3 classes like the student, but it has 5'):
        student(checkpoint, network(3, num_classes=5))


def test_a_loss_that_needs_no_teacher_is_refused_at_build(checkpoint):
    with pytest.raises(
        TypeError, match='a loss that learns from a teacher, such as ltmm.RIDEDistillLoss, but got RIDEL'
    ):
        student(checkpoint, loss='RIDELoss')
