import math

import numpy as np
import pytest
import torch

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.models.losses.multi_label import MultiFocalModifierLoss

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
def test_equals_the_formula_label_by_label(form, options, dtype):
    if form == 'multi_grained':
        options = {name: value for name, value in options.items() if name != 'boost'}
    cls_score = score(dtype=dtype)
    got = build(form, **options)(cls_score, TARGET, reduction_override='none')
    torch.testing.assert_close(got, naive(cls_score, TARGET, form, **options))


@pytest.mark.parametrize('form', ['prior', 'multi_grained'])
@pytest.mark.parametrize('gamma_pos', [0.0, 1.0])
def test_the_gradient_that_comes_with_the_value_is_that_of_autograd(form, gamma_pos):
    cls_score = score().requires_grad_()
    value = build(form, gamma_pos=gamma_pos)(cls_score, TARGET)
    (by_autograd,) = torch.autograd.grad(value, cls_score, create_graph=True)
    (got,) = torch.autograd.grad(value, cls_score)
    torch.testing.assert_close(got, by_autograd.detach())


@pytest.mark.parametrize('form', ['prior', 'multi_grained'])
def test_in_training_it_has_the_same_losses(form):
    losses = build(form)(score().requires_grad_(), TARGET, reduction_override='none')
    torch.testing.assert_close(losses.detach(), naive(score(), TARGET, form))


def test_the_gradient_may_flow_through_the_focus_too():
    loss = build(detach_focus=False, gamma_pos=1.0)
    assert torch.autograd.gradcheck(lambda z: loss(z, TARGET), score(1.0).requires_grad_())
    gradients = []
    for module in (loss, build(gamma_pos=1.0)):
        cls_score = score().requires_grad_()
        module(cls_score, TARGET).backward()
        gradients.append(cls_score.grad)
    assert not torch.allclose(*gradients)


def test_likely_companions_of_a_positive_are_forgiven_while_they_score_low():
    target = torch.tensor([[1.0, 0, 0, 0]])
    cls_score = torch.full((1, 4), -1.5, requires_grad=True)  # a score of 0.18
    build()(cls_score, target).backward()
    assert cls_score.grad[0, 1:3].tolist() == [0, 0]  # come with class 0
    alone = torch.full((1, 4), -1.5, requires_grad=True)
    build('multi_grained')(alone, target).backward()
    assert (alone.grad[0, 1:3] > 0).all()


def test_the_tail_weighs_more_and_a_class_without_images_nothing():
    weight = build('multi_grained').class_weight
    assert weight[0] == 1 and weight[0] < weight[1] < weight[2] and weight[3] == 0


def test_images_without_positives_and_empty_classes_give_finite_numbers():
    target = torch.zeros(3, 4)
    target[0, 3] = 1  # of a class that never occurs in training
    for scale in (1.0, 1e4):
        cls_score = (scale * torch.tensor([[1.0, -1, 0.5, -0.5]] * 3)).requires_grad_()
        value = build()(cls_score, target)
        value.backward()
        assert value.isfinite() and cls_score.grad.isfinite().all()
        assert (cls_score.grad[:, 3] == 0).all()


def test_unknown_labels_have_no_part():
    cls_score = score().requires_grad_()
    build()(cls_score, TARGET).backward()
    assert cls_score.grad[TARGET == -1].tolist() == [0, 0]
    forgotten = build()(score(), TARGET.clamp(min=0), reduction_override='none')
    assert (forgotten[TARGET == -1] > 0).all()


def test_soft_labels_are_refused_by_name():
    with pytest.raises(
        ValueError, match='MultiFocalModifierLoss: expected targets .* but image 0 .* has 0.4 for class 1'
    ):
        build()(torch.zeros(1, 4), torch.tensor([[0, 0.4, 0, 1]]))


def test_mixed_precision_computes_in_float32():
    cls_score = score(dtype=torch.float32).bfloat16().requires_grad_()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = build()(cls_score, TARGET)
    value.backward()
    assert value.dtype == torch.float32 and cls_score.grad.dtype == torch.bfloat16
    torch.testing.assert_close(value, build()(cls_score.detach().float(), TARGET))


def test_a_checkpoint_brings_counts_and_co_occurrence():
    fresh = MultiFocalModifierLoss()
    fresh.load_state_dict(build().state_dict())
    torch.testing.assert_close(fresh(score(), TARGET), build()(score(), TARGET))


def test_what_is_given_stays_whatever_the_data_and_the_checkpoint_say():
    loss = build(co_occurrence=np.eye(4))
    loss.load_state_dict(build().state_dict())
    assert torch.equal(loss.co_occurrence, torch.eye(4).long())


def test_a_new_head_on_old_features_keeps_its_own():
    loss = MultiFocalModifierLoss(num_classes=2)
    loss.set_class_distribution(ClassDistribution([3, 2], num_images=4, co_occurrence=[[3, 1], [1, 2]]))
    loss.load_state_dict(build().state_dict(), strict=False)
    assert loss.co_occurrence.tolist() == [[3, 1], [1, 2]]


def test_without_co_occurrence_says_three_ways_out():
    loss = MultiFocalModifierLoss(class_counts=[3, 2])
    with pytest.raises(RuntimeError, match=r"multi-label; or give co_occurrence=.*, or take form='multi_grained'"):
        loss(torch.zeros(1, 2), torch.zeros(1, 2))


@pytest.mark.parametrize(
    'options, error, message',
    [
        (dict(form='posterior'), ValueError, "Expected `form` to be one of .*, but got 'posterior'"),
        (dict(clip=1.0), ValueError, r'Expected `clip` to be in \[0, 1\), but got 1.0'),
        (dict(boost=0.5), ValueError, 'Expected `boost` to be at least 1, but got 0.5'),
        (dict(boost=np.nan), ValueError, 'Expected `boost` to be at least 1, but got nan'),
        (dict(gamma_neg=-5), ValueError, 'Expected `gamma_neg` to be at least 0, but got -5'),
        (dict(weight_exponent=-1), ValueError, 'Expected `weight_exponent` to be at least 0, but got -1'),
        (dict(eps=0), ValueError, r'Expected `eps` to be in \(0, 1\), but got 0'),
        (dict(form='multi_grained', co_occurrence=np.eye(2)), ValueError, "`co_occurrence` belongs to form='prior'"),
        (dict(co_occurrence=np.ones((2, 3))), ValueError, r'to be of shape \(C, C\), but got \(2, 3\)'),
        (
            dict(co_occurrence=np.eye(3), class_counts=[2, 1]),
            ClassDistributionError,
            r'expected `co_occurrence` to be of shape \(2, 2\), but got \(3, 3\)',
        ),
    ],
)
def test_refuses_what_cannot_be(options, error, message):
    with pytest.raises(error, match=message):
        MultiFocalModifierLoss(**options)
