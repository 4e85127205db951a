import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from toy_semi_losses import build_loss, run_at, semi_inputs

from ltmm.models.losses import LossInputs
from ltmm.models.losses.semi.adello_loss import adello_adjustment, adello_alpha, adello_target_prior
from ltmm.registry import MODELS

PRIOR = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)


def test_alpha():
    assert adello_alpha(0, 0.1, 2) == 1 and adello_alpha(1, 0.1, 2) == pytest.approx(0.1)
    assert adello_alpha(0.5, 0.1, 2) == pytest.approx(1 - 0.9 * 0.25)
    values = [adello_alpha(t / 10, 0.1, 2) for t in range(11)]
    assert values == sorted(values, reverse=True)


def test_target_prior():
    torch.testing.assert_close(adello_target_prior(PRIOR, 1), PRIOR)
    torch.testing.assert_close(adello_target_prior(PRIOR, 0), torch.full_like(PRIOR, 1 / 3))
    naive = [p**0.4 for p in PRIOR.tolist()]
    expected = torch.tensor([p / sum(naive) for p in naive], dtype=torch.float64)
    torch.testing.assert_close(adello_target_prior(PRIOR, 0.4), expected)


def test_class_never_seen():
    prior = torch.tensor([0.7, 0.3, 0.0])
    target = adello_target_prior(prior, 0.5)
    assert target[2] == 0 and target.sum() == pytest.approx(1)
    assert adello_adjustment(prior, target).isfinite().all()
    assert adello_adjustment(prior, torch.full((3,), 1 / 3))[2] == pytest.approx(math.log(3e-9), abs=1e-4)


def test_no_adjustment_at_the_start():
    assert adello_adjustment(PRIOR, adello_target_prior(PRIOR, 1)).abs().max() < 1e-12


def test_adjustment_moves_a_classifier_to_the_target_prior():
    likelihood, target = torch.rand(5, 3, dtype=torch.float64), torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64)
    logits = (likelihood * target).log()  # of the Bayes classifier on data of the target distribution
    got = (logits + adello_adjustment(PRIOR, target)).softmax(1)
    expected = likelihood * PRIOR
    torch.testing.assert_close(got, expected / expected.sum(1, keepdim=True), rtol=1e-6, atol=1e-8)


build = partial(build_loss, 'ADELLOLoss')
inputs_of = semi_inputs


def run(loss, iter, inputs=None):
    return run_at(loss, iter, inputs or inputs_of(iter))


@pytest.mark.parametrize('iter', [0, 5, 9])
def test_naive(iter):
    loss, inputs, p = build(threshold=0.6, ccr_start=0.5, ccr_weight=0.7), inputs_of(), [0.4, 0.3, 0.2, 0.1]
    loss.unlabeled.prior.copy_(torch.tensor(p))
    terms = run(loss, iter, inputs)
    alpha = 1 - 0.9 * (iter / 10) ** 2
    q = [x**alpha / sum(y**alpha for y in p) for x in p]

    def cross_entropy(score, source, target):
        adjusted = [z + math.log((s + 1e-9) / (t + 1e-9)) for z, s, t in zip(score, source, q)]
        log_sum = math.log(sum(map(math.exp, adjusted)))
        return sum(t * (log_sum - z) for t, z in zip(target, adjusted))

    labeled = sum(
        cross_entropy(score, [0.6, 0.3, 0.1, 0], [float(c == label) for c in range(4)]) / 3
        for score, label in zip(inputs.cls_score.tolist(), [0, 2, 1])
    )
    confident = doubtful = 0
    for weak, strong in zip(*inputs.unlabeled_score.tolist()):
        total = sum(map(math.exp, weak))
        soft = [math.exp(z) / total for z in weak]
        if max(soft) >= 0.6:
            confident += cross_entropy(strong, p, [float(x == max(soft)) for x in soft]) / 5
        else:
            doubtful += 0.7 * (iter >= 5) * cross_entropy(strong, p, soft) / 5
    assert confident > 0 and (doubtful > 0) == (iter >= 5)
    assert terms['loss_labeled'].item() == pytest.approx(labeled)
    assert terms['loss_unlabeled'].item() == pytest.approx(confident)
    assert terms['loss_ccr'].item() == pytest.approx(doubtful)


def test_estimate_is_the_moving_average_of_the_probabilities():
    loss, expected = build(momentum=0.8), torch.full((4,), 0.25, dtype=torch.float64)
    for i in range(3):
        run(loss, i)
        expected = 0.8 * expected + 0.2 * inputs_of(i).unlabeled_score[0].softmax(1).mean(0).detach()
    torch.testing.assert_close(loss.unlabeled.prior, expected)


def test_estimate_without_images_of_the_labeled_part():
    loss, inputs = build(momentum=0.8), inputs_of()
    also_labeled = torch.tensor([True, False, True, False, False])
    run(loss, 0, replace(inputs, also_labeled=also_labeled))
    mean = inputs.unlabeled_score[0].softmax(1)[~also_labeled].mean(0).detach()
    torch.testing.assert_close(loss.unlabeled.prior, 0.8 * torch.full_like(mean, 0.25) + 0.2 * mean)
    before = loss.unlabeled.prior.clone()
    run(loss, 1, replace(inputs, also_labeled=torch.ones(5, dtype=torch.bool)))
    assert torch.equal(loss.unlabeled.prior, before)


def test_starts_as_fixmatch_on_unlabeled_images():
    """With alpha 1, the target is the estimate."""
    for loss in (build(threshold=0.6), build(threshold=0.6, alpha_min=1.0)):
        loss.unlabeled.prior.copy_(torch.tensor([0.4, 0.3, 0.2, 0.1]))
        terms = run(loss, 0 if loss.alpha_min < 1 else 9, inputs_of())
        expected = MODELS.build(dict(type='ltmm.FixMatchLoss', threshold=0.6))(inputs_of())
        torch.testing.assert_close(terms['loss_unlabeled'], expected['loss_unlabeled'])


def test_ends_as_balanced_softmax_on_labeled_images():
    loss, inputs = build([60, 30, 10, 5], alpha_min=0.0), inputs_of()
    loss.unlabeled.prior.copy_(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    terms = run(loss, 10, inputs)
    balanced = MODELS.build(dict(type='ltmm.BalancedSoftmaxLoss', class_counts=[60, 30, 10, 5]))
    torch.testing.assert_close(terms['loss_labeled'], balanced(inputs.cls_score, inputs.label), rtol=1e-6, atol=0)


def test_pseudo_labels_get_no_gradient():
    inputs = inputs_of()
    sum(value for name, value in run(build(), 9, inputs).items() if 'loss' in name).backward()
    assert not inputs.unlabeled_score.grad[0].any() and inputs.unlabeled_score.grad[1].any(1).all()
    assert inputs.cls_score.grad.isfinite().all()


def test_no_confident_image():
    terms, inputs = {}, inputs_of()
    for iter, weight in ((0, 0), (9, 1)):
        terms = run(build(threshold=1.0), iter, inputs)
        assert terms['loss_unlabeled'] == 0 and terms['mask_rate'] == 0
        assert (terms['loss_ccr'] > 0) == bool(weight)
    sum(value for name, value in terms.items() if 'loss' in name).backward()
    assert inputs.unlabeled_score.grad.isfinite().all()


def test_class_without_images():
    loss, inputs = build([60, 40, 0, 0]), inputs_of()
    loss.unlabeled.prior.copy_(torch.tensor([0.5, 0.5, 0, 0]))
    terms = run(loss, 9, inputs)
    sum(value for name, value in terms.items() if 'loss' in name).backward()
    assert all(value.isfinite() for value in terms.values())
    assert inputs.cls_score.grad.isfinite().all() and inputs.unlabeled_score.grad.isfinite().all()


def test_resume():
    loss, resumed = build(momentum=0.9), build(momentum=0.9)
    for i in range(4):
        run(loss, i)
    resumed.load_state_dict(loss.state_dict())
    for i in range(4, 8):
        assert run(loss, i) == run(resumed, i)
    assert torch.equal(loss.unlabeled.prior, resumed.unlabeled.prior)


def test_bfloat16():
    loss, exact = build().bfloat16(), inputs_of(dtype=torch.float32)
    assert loss.unlabeled.prior.dtype == torch.float64
    rounded = LossInputs(exact.label, exact.cls_score.bfloat16(), unlabeled_score=exact.unlabeled_score.bfloat16())
    values = run(loss, 9, rounded)
    assert values['loss_labeled'].dtype == torch.float32
    torch.testing.assert_close(values['loss_labeled'], run(build(), 9, exact)['loss_labeled'], rtol=0.02, atol=0.02)
