import math

import pytest
import torch

from ltmm.models.losses import QuerySharedKDLoss

COUNTS = [50, 3, 40, 31, 0]
HEAD = [0, 2, 3]


def naive(student, teacher):
    """A loop over queries and head classes."""
    rows = list(zip(student.flatten(0, -2).tolist(), teacher.flatten(0, -2).tolist()))
    total = 0.0
    for a, b in rows:
        p = [math.exp(b[c]) / sum(math.exp(b[h]) for h in HEAD) for c in HEAD]
        q = [math.exp(a[c]) / sum(math.exp(a[h]) for h in HEAD) for c in HEAD]
        total += sum(x * math.log(x / y) for x, y in zip(p, q))
    return total / len(rows)


@pytest.mark.parametrize('shape', [(2, 7, 5), (9, 5), (9, 6), (9, 7)])
def test_equals_a_loop_over_queries_and_head_classes(shape):
    student, teacher = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    loss = QuerySharedKDLoss(loss_weight=0.5, class_counts=COUNTS)(student, teacher)
    assert loss.item() == pytest.approx(0.5 * naive(student, teacher), rel=1e-12)


def test_only_head_classes_of_the_student_learn():
    student = torch.randn(4, 6, requires_grad=True)
    QuerySharedKDLoss(class_counts=COUNTS)(student, torch.randn(4, 6)).backward()
    assert (student.grad[:, HEAD] != 0).all()
    assert (student.grad[:, [1, 4, 5]] == 0).all()


def test_is_zero_for_the_teacher_itself_and_without_queries():
    loss, logits = QuerySharedKDLoss(class_counts=COUNTS), torch.randn(3, 5)
    assert loss(logits, logits.clone()) == 0
    none = torch.zeros(0, 5, requires_grad=True)
    loss(none, none.detach()).backward()
    assert none.grad.shape == (0, 5)


def test_large_logits_stay_finite():
    student = torch.tensor([[1e4, 0.0, -1e4, 0.0, 0.0]], requires_grad=True)
    loss = QuerySharedKDLoss(class_counts=COUNTS)(student, -student.detach())
    loss.backward()
    assert loss.isfinite() and student.grad.isfinite().all()


def test_half_precision_is_computed_in_float32():
    student, teacher = torch.randn(8, 5).bfloat16(), torch.randn(8, 5).bfloat16()
    loss = QuerySharedKDLoss(class_counts=COUNTS)
    assert loss(student, teacher).dtype == torch.float32
    assert loss(student, teacher) == loss(student.float(), teacher.float())


@pytest.mark.parametrize('student, teacher', [((3, 5), (4, 5)), ((3, 4), (3, 4)), ((3, 8), (3, 8))])
def test_other_logits_are_refused(student, teacher):
    with pytest.raises(ValueError, match=r'same shape, \(\.\.\., 5\) or up to two columns wider, but got \(3, \d\)'):
        QuerySharedKDLoss(class_counts=COUNTS)(torch.zeros(student), torch.zeros(teacher))
