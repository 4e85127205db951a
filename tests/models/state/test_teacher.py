"""Teachers: frozen, outside of the student, several of them, and never untrained."""

import copy

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from ltmm.models.state import TeacherMixin


class Student(TeacherMixin, BaseModule):
    def __init__(self, checkpoints, width=3):
        super().__init__()
        self.layer = nn.Linear(3, 2)
        self.init_teachers(
            [nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width)) for _ in checkpoints], checkpoints
        )


@pytest.fixture
def checkpoints(tmp_path):
    """Two trained teachers; the second was saved from its DDP wrapper."""
    teachers = [nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for _ in range(2)]
    for path, prefix, teacher in zip(('one.pth', 'two.pth'), ('', 'module.'), teachers):
        teacher(torch.randn(8, 3))  # moves the running statistics
        torch.save(dict(state_dict={prefix + k: v for k, v in teacher.state_dict().items()}), tmp_path / path)
    return [str(tmp_path / 'one.pth'), str(tmp_path / 'two.pth')]


def test_each_teacher_has_its_own_weights(checkpoints):
    student = Student(checkpoints)
    student.init_weights()
    for teacher, path, prefix in zip(student.teachers, checkpoints, ('', 'module.')):
        weights = torch.load(path, weights_only=True)['state_dict']
        torch.testing.assert_close({prefix + k: v for k, v in teacher.state_dict().items()}, weights)
    with pytest.raises(ValueError, match='too many values'):
        _ = student.teacher


def test_teachers_are_frozen_and_no_part_of_the_student(checkpoints):
    student = Student(checkpoints[:1])
    student.init_weights()
    before = copy.deepcopy(student.teacher.state_dict())
    student.train()
    (student.layer(torch.randn(4, 3)).sum() + student.teacher(torch.randn(4, 3)).sum()).backward()
    torch.optim.SGD(student.parameters(), lr=0.1).step()
    assert not any(module.training for module in student.teacher.modules())
    torch.testing.assert_close(student.teacher.state_dict(), before, rtol=0, atol=0)
    assert list(student.state_dict()) == ['layer.weight', 'layer.bias']
    assert len(list(student.parameters())) == 2


def test_teachers_follow_the_student_to_another_device_or_precision(checkpoints):
    student = Student(checkpoints)
    student.init_weights()
    student.double()
    assert {p.dtype for teacher in student.teachers for p in teacher.parameters()} == {torch.float64}


def test_untrained_teachers_cannot_be_used(checkpoints, tmp_path):
    student = Student(checkpoints)
    with pytest.raises(RuntimeError, match='Student: the teacher has no trained weights yet'):
        _ = student.teachers
    with pytest.raises(FileNotFoundError, match='none.pth'):
        Student([str(tmp_path / 'none.pth')]).init_weights()


@pytest.mark.parametrize(
    'layer, error', [('0.weight', r'0.weight of shape \(3, 3\), but it is missing'), (None, r'\(4, 3\)')]
)
def test_a_checkpoint_of_another_network_is_refused(checkpoints, layer, error):
    weights = torch.load(checkpoints[0], weights_only=True)['state_dict']
    weights.pop(layer, None)
    torch.save(dict(state_dict=weights), checkpoints[0])
    student = Student(checkpoints, width=3 if layer else 4)
    with pytest.raises(ValueError, match=f'one.pth to fit the model, with .*{error}'):
        student.init_weights()
    with pytest.raises(RuntimeError, match='no trained weights'):
        _ = student.teachers
