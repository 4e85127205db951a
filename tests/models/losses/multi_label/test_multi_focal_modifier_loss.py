import math

import numpy as np
import pytest
import torch

from ltmm import ClassDistribution
from ltmm.models.losses.multi_label import MultiFocalModifierLoss
from ltmm.utils.errors import MissingInputError

CO_OCCURRENCE = np.array([[40, 10, 2, 0], [10, 12, 0, 0], [2, 0, 5, 0], [0, 0, 0, 0]])
COUNTS = CO_OCCURRENCE.diagonal()
DISTRIBUTION = ClassDistribution(COUNTS, num_images=50, co_occurrence=CO_OCCURRENCE)
TARGET = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [-1, 1, -1, 0]])


def score(scale: float = 3.0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return scale * torch.randn(4, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)


def build(form: str = 'prior', **options) -> MultiFocalModifierLoss:
    loss = MultiFocalModifierLoss(form=form, **options)
    loss.set_class_distribution(DISTRIBUTION)
    return loss


def naive(cls_score, target, form, gamma_neg=3.0, gamma_pos=0.0, clip=0.05, boost=1.2):
    """One label at a time, after the formula."""
    exponent = 1 / 3 if form == 'prior' else 1 / 6
    rows = []
    for z, y in zip(cls_score.tolist(), target.tolist()):
        company = [0.0] * 4
        positives = [c for c in range(4) if y[c] == 1]
        for c in range(4):
            for i in positives:
                of_class = CO_OCCURRENCE[:, c].sum()
                company[c] += CO_OCCURRENCE[i, c] / of_class / len(positives) if of_class else 0.0
        total = sum(company)
        row = []
        for c in range(4):
            if not COUNTS[c] or y[c] == -1:
                row.append(0.0)
                continue
            weight = (1 - math.log(COUNTS[c] / COUNTS.max())) ** exponent
            a = company[c] / total if form == 'prior' and total else 0.0
            p = 1 / (1 + math.exp(-z[c]))
            if y[c] == 1:
                truth, gamma = p * (1 - a), gamma_pos
            else:
                truth, gamma = min((boost if a else 1) * min(1 - p + clip, 1), 1), gamma_neg + weight
            row.append(-weight * (1 - truth) ** gamma * math.log(max(truth, 1e-8)))
        rows.append(row)
    return torch.tensor(rows, dtype=cls_score.dtype)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('form', ['prior', 'multi_grained'])
@pytest.mark.parametrize('options', [{}, dict(gamma_neg=1.5, gamma_pos=1.0, clip=0.2, boost=1.5)])
def test_formula(form, options, dtype):
    if form == 'multi_grained':
        options = {name: value for name, value in options.items() if name != 'boost'}
    cls_score = score(dtype=dtype)
    got = build(form, **options)(cls_score, TARGET, reduction_override='none')
    torch.testing.assert_close(got, naive(cls_score, TARGET, form, **options))


def test_detach_focus():
    loss = build(detach_focus=False, gamma_pos=1.0)
    assert torch.autograd.gradcheck(lambda z: loss(z, TARGET), score(1.0).requires_grad_())
    gradients = []
    for module in (loss, build(gamma_pos=1.0)):
        cls_score = score().requires_grad_()
        module(cls_score, TARGET).backward()
        gradients.append(cls_score.grad)
    assert not torch.allclose(*gradients)


def test_no_gradient_for_likely_companions():
    target = torch.tensor([[1.0, 0, 0, 0]])
    cls_score = torch.full((1, 4), -1.5, requires_grad=True)  # a score of 0.18
    build()(cls_score, target).backward()
    assert cls_score.grad[0, 1:3].tolist() == [0, 0]  # come with class 0
    alone = torch.full((1, 4), -1.5, requires_grad=True)
    build('multi_grained')(alone, target).backward()
    assert (alone.grad[0, 1:3] > 0).all()


def test_class_weight():
    weight = build('multi_grained').class_weight
    assert weight[0] == 1 and weight[0] < weight[1] < weight[2] and weight[3] == 0


def test_empty_class():
    target = torch.zeros(3, 4)
    target[0, 3] = 1  # of a class that never occurs in training
    for scale in (1.0, 1e4):
        cls_score = (scale * torch.tensor([[1.0, -1, 0.5, -0.5]] * 3)).requires_grad_()
        value = build()(cls_score, target)
        value.backward()
        assert value.isfinite() and cls_score.grad.isfinite().all()
        assert (cls_score.grad[:, 3] == 0).all()


def test_unknown_labels():
    cls_score = score().requires_grad_()
    build()(cls_score, TARGET).backward()
    assert cls_score.grad[TARGET == -1].tolist() == [0, 0]
    forgotten = build()(score(), TARGET.clamp(min=0), reduction_override='none')
    assert (forgotten[TARGET == -1] > 0).all()


def test_checkpoint():
    fresh = MultiFocalModifierLoss()
    fresh.load_state_dict(build().state_dict())
    torch.testing.assert_close(fresh(score(), TARGET), build()(score(), TARGET))


def test_given_co_occurrence_is_kept():
    loss = build(co_occurrence=np.eye(4))
    loss.load_state_dict(build().state_dict())
    assert torch.equal(loss.co_occurrence, torch.eye(4).long())


def test_checkpoint_with_other_classes():
    loss = MultiFocalModifierLoss(num_classes=2)
    loss.set_class_distribution(ClassDistribution([3, 2], num_images=4, co_occurrence=[[3, 1], [1, 2]]))
    loss.load_state_dict(build().state_dict(), strict=False)
    assert loss.co_occurrence.tolist() == [[3, 1], [1, 2]]


def test_missing_co_occurrence():
    loss = MultiFocalModifierLoss(class_counts=[3, 2])
    with pytest.raises(MissingInputError, match=r"give co_occurrence=.*, or use form='multi_grained'"):
        loss(torch.zeros(1, 2), torch.zeros(1, 2))
