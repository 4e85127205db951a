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


def test_the_teacher_is_frozen_and_no_part_of_the_student(checkpoint):
    model = student(checkpoint)
    model.init_weights()
    before = copy.deepcopy(model.teacher.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    sum(model.loss(torch.randn(4, 3, 8, 8), SAMPLES).values()).backward()
    optimizer.step()
    assert not model.teacher.training
    torch.testing.assert_close(model.teacher.state_dict(), before, rtol=0, atol=0)
    assert not any('teacher' in name for name in model.state_dict())
    assert all(p.grad is not None for p in model.parameters())  # DDP finds no unused parameter
    assert model.state_dict().keys() == MODELS.build(network(2, loss='RIDEDistillLoss')).state_dict().keys()


def test_the_teacher_comes_along_to_another_precision(checkpoint):
    model = student(checkpoint).double()
    assert {p.dtype for p in model.teacher.parameters()} == {torch.float64}


def test_teacher_from_a_config_file(checkpoint, tmp_path):
    Config(dict(model=network(3))).dump(tmp_path / 'teacher.py')
    assert student(checkpoint, str(tmp_path / 'teacher.py')).teacher.head.num_experts == 3


def test_a_test_needs_no_checkpoint_of_the_teacher():
    model = student('no/such/file.pth')
    assert model.eval()(torch.randn(2, 3, 8, 8)).shape == (2, 3)
    with pytest.raises(RuntimeError, match='teacher has no trained weights: call init_weights'):
        model.loss(torch.randn(4, 3, 8, 8), SAMPLES)
    with pytest.raises(FileNotFoundError, match='no/such/file.pth'):
        model.init_weights()


def test_a_teacher_of_other_classes_is_refused_at_build(checkpoint):
    with pytest.raises(ValueError, match='expected a teacher of 3 classes like the student, but it has 5'):
        student(checkpoint, network(3, num_classes=5))


def test_a_loss_that_needs_no_teacher_is_refused_at_build(checkpoint):
    with pytest.raises(
        TypeError, match='a loss that learns from a teacher, such as ltmm.RIDEDistillLoss, but got RIDEL'
    ):
        student(checkpoint, loss='RIDELoss')


def test_a_checkpoint_of_another_network_is_refused(checkpoint):
    deeper = network(3)
    deeper['backbone']['depth'] = 14
    model = student(checkpoint, deeper)
    with pytest.raises(ValueError, match=r'Expected a checkpoint of the teacher, but \d+ of its parameters'):
        model.init_weights()


def test_a_checkpoint_of_another_width_is_refused(checkpoint):
    wider = network(3)
    wider['backbone']['channels'] = (4, 4, 12)
    wider['head']['in_channels'] = 12
    model = student(checkpoint, wider)
    message = r'parameters have another shape in .*teacher.pth: backbone.layer3.* is \(12, .* and \(8, .* there'
    with pytest.raises(ValueError, match=message):
        model.init_weights()
    with pytest.raises(RuntimeError, match='no trained weights'):
        model.check_teacher_is_trained()


def test_a_checkpoint_of_a_wrapped_model_is_taken(checkpoint, tmp_path):
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    torch.save(dict(state_dict={f'module.{name}': tensor for name, tensor in state.items()}), tmp_path / 'ddp.pth')
    model = student(str(tmp_path / 'ddp.pth'))
    model.init_weights()
    name = 'head.fc.experts.0.weight'
    torch.testing.assert_close(model.teacher.state_dict()[name], state[name])
