import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from toy_semi_losses import build_loss, run_at, semi_inputs

from ltmm import ClassDistribution
from ltmm.models.losses import LossInputs
from ltmm.models.losses.semi.acr_loss import adjustment
from ltmm.utils.errors import InputError

PRIOR = torch.tensor([0.6, 0.3, 0.1, 0.0])


@pytest.mark.parametrize('tau', [0, 1, 2])
def test_adjustment(tau):
    expected = torch.tensor([math.log(p**tau + 1e-12) for p in PRIOR.tolist()])
    torch.testing.assert_close(adjustment(PRIOR, tau), expected)
    assert tau == 0 or adjustment(PRIOR, tau)[3] == pytest.approx(-27.631, abs=1e-3)


def test_adjusted_softmax_is_bayes_rule():
    likelihood = torch.rand(5, 4, dtype=torch.float64)
    expected = likelihood * PRIOR / (likelihood * PRIOR).sum(1, keepdim=True)
    got = (likelihood.log() + adjustment(PRIOR.double(), 1)).softmax(1)
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-9)


build = partial(build_loss, 'SimProLoss')
inputs_of = partial(semi_inputs, num_views=2, unlabeled_views=3)


def run(loss, iter, inputs=None):
    return run_at(loss, iter, inputs or inputs_of(iter))


@pytest.mark.parametrize('tau', [1.0, 2.0])
def test_naive(tau):
    loss, inputs = build(tau=tau, threshold=0.6, labeled_weight=0.3), inputs_of()
    loss.unlabeled.prior.copy_(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    terms = run(loss, 0, inputs)
    labeled = unlabeled = 0
    mixture = [math.log(p**tau + 1e-12) for p in PRIOR.tolist()]
    for row, score in enumerate(inputs.cls_score.tolist()):
        adjusted = [z + a for z, a in zip(score, mixture)]
        label = [0, 2, 1][row % 3]
        labeled += 0.3 / 6 * (math.log(sum(map(math.exp, adjusted))) - adjusted[label])
    num_used, total = 0, torch.zeros(4)
    for j in range(5):
        weak = [
            math.exp(z) * (p**tau + 1e-12) for z, p in zip(inputs.unlabeled_score[0, j].tolist(), [0.4, 0.3, 0.2, 0.1])
        ]
        target = [w / sum(weak) for w in weak]
        if max(target) < 0.6:
            continue
        num_used, total = num_used + 1, total + torch.tensor(target)
        for s in (1, 2):
            adjusted = [z + a for z, a in zip(inputs.unlabeled_score[s, j].tolist(), mixture)]
            log_sum = math.log(sum(map(math.exp, adjusted)))
            unlabeled += sum(q * (log_sum - z) for q, z in zip(target, adjusted)) / 10
    assert 0 < num_used < 5
    assert terms['loss_labeled'].item() == pytest.approx(labeled)
    assert terms['loss_unlabeled'].item() == pytest.approx(unlabeled)
    assert terms['mask_rate'].item() == pytest.approx(num_used / 5)
    torch.testing.assert_close(loss.unlabeled.counts.float(), total)
    torch.testing.assert_close(loss.mixture.counts.float(), total + torch.tensor([1.0, 1, 1, 0]))


def test_pseudo_labels_get_no_gradient():
    inputs = inputs_of()
    sum(value for name, value in run(build(threshold=0), 0, inputs).items() if 'loss' in name).backward()
    assert not inputs.unlabeled_score.grad[0].any() and inputs.unlabeled_score.grad[1:].all()
    assert inputs.cls_score.grad.isfinite().all()


def test_uniform_priors_change_nothing():
    inputs = inputs_of()
    terms = run(build([5] * 4, threshold=0), 0, inputs)
    target = inputs.unlabeled_score[0].softmax(1).detach()
    expected = sum(F.cross_entropy(strong, target) for strong in inputs.unlabeled_score[1:]) / 2
    torch.testing.assert_close(terms['loss_unlabeled'], expected)
    torch.testing.assert_close(terms['loss_labeled'], F.cross_entropy(inputs.cls_score, inputs.label.repeat(2)))


def test_priors_move_every_interval():
    loss = build(threshold=0.5, interval=2, momentum=0.8)
    uniform = torch.full((4,), 0.25, dtype=torch.float64)
    run(loss, 0)
    torch.testing.assert_close(loss.unlabeled.prior, uniform)
    torch.testing.assert_close(loss.mixture.prior, PRIOR.double(), atol=1e-7, rtol=0)
    counts = loss.unlabeled.counts.clone()
    run(loss, 1)
    targets = [inputs_of(i).unlabeled_score[0].softmax(1).detach() for i in range(2)]  # the prior was uniform
    used = [target * (target.amax(1, keepdim=True) >= 0.5) for target in targets]
    torch.testing.assert_close(counts, used[0].sum(0))
    counts = sum(used).sum(0)
    torch.testing.assert_close(loss.unlabeled.prior, 0.8 * uniform + 0.2 * counts / (counts.sum() + 1))
    with_labels = counts + torch.tensor([2, 2, 2, 0])
    expected = 0.8 * PRIOR.double() + 0.2 * with_labels / with_labels.sum()
    torch.testing.assert_close(loss.mixture.prior, expected, atol=1e-7, rtol=0)


def test_estimate_finds_the_prior_of_the_unlabeled_images():
    torch.manual_seed(0)
    loss = build([60, 30, 10, 5], threshold=0, interval=1, tau=1)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.4])
    score = torch.full((4, 4), -3.0).fill_diagonal_(3.0)  # likelihood of an almost perfect classifier
    for i in range(60):
        label = prior.multinomial(500, replacement=True)
        unlabeled = score[label].expand(3, -1, -1)
        run(loss, i, LossInputs(label=torch.tensor([0]), cls_score=score[:1], unlabeled_score=unlabeled))
    torch.testing.assert_close(loss.unlabeled.prior.float(), prior, atol=0.03, rtol=0)


def test_no_confident_image():
    loss, inputs = build(threshold=1.0, interval=1), inputs_of()
    terms = run(loss, 0, inputs)
    (terms['loss_labeled'] + terms['loss_unlabeled']).backward()
    assert terms['loss_unlabeled'] == 0 and terms['mask_rate'] == 0
    assert inputs.cls_score.grad.isfinite().all() and not inputs.unlabeled_score.grad.any()
    torch.testing.assert_close(loss.unlabeled.prior, torch.full((4,), 0.25, dtype=torch.float64))
    assert loss.mixture.prior.isfinite().all()


def test_class_never_seen():
    loss, inputs = build([60, 40, 0, 0], threshold=0, interval=1), inputs_of()  # a label of class 2 all the same
    loss.unlabeled.prior.copy_(torch.tensor([0.5, 0.5, 0, 0]))
    terms = run(loss, 0, inputs)
    (terms['loss_labeled'] + terms['loss_unlabeled']).backward()
    assert all(value.isfinite() for value in terms.values())
    assert inputs.cls_score.grad.isfinite().all() and inputs.unlabeled_score.grad.isfinite().all()


def test_resume_in_the_middle_of_an_interval():
    loss, resumed = build(threshold=0.3, interval=3), build(threshold=0.3, interval=3)
    for i in range(5):
        run(loss, i)
    resumed.load_state_dict(loss.state_dict())
    resumed.set_class_distribution(ClassDistribution([60, 30, 10, 0]))
    for i in range(5, 9):
        assert run(loss, i) == run(resumed, i)
    for name, value in loss.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert loss.unlabeled.num_steps == 3


def test_bfloat16():
    loss = build(threshold=0.3).bfloat16()
    assert loss.unlabeled.prior.dtype == torch.float64
    exact = inputs_of(dtype=torch.float32)
    rounded = LossInputs(exact.label, exact.cls_score.bfloat16(), unlabeled_score=exact.unlabeled_score.bfloat16())
    values = run(loss, 0, rounded)
    assert values['loss_labeled'].dtype == torch.float32
    torch.testing.assert_close(values['loss_labeled'], run(build(), 0, exact)['loss_labeled'], rtol=0.02, atol=0.02)


def test_wrong_number_of_classes():
    with pytest.raises(InputError, match='expected logits of 3 classes, as in the training data, but got shape'):
        run(build([5, 3, 2]), 0)
