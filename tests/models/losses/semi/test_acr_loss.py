import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ltmm.models.layers import TwoBranchLinear
from ltmm.models.losses import LossInputs
from ltmm.models.losses.semi.acr_loss import adjustment, anchor_priors, confident_classes, symmetric_kl
from ltmm.registry import MODELS

COUNTS = [30, 10, 5, 2]
C, D = len(COUNTS), 6


def acr(**settings) -> torch.nn.Module:
    return MODELS.build(dict(type='ltmm.ACRLoss', class_counts=COUNTS, interval=2, warmup=0, threshold=0.6, **settings))


def batch(seed: int, num: int = 7, scale: float = 3.0, classifier=None) -> LossInputs:
    torch.manual_seed(seed)
    classifier = TwoBranchLinear(D, C) if classifier is None else classifier
    features, unlabeled = torch.randn(5, D), scale * torch.randn(3, num, D)
    return LossInputs(
        torch.randint(C, (5,)),
        classifier(features),
        features=features,
        classifier=classifier,
        unlabeled_score=classifier(unlabeled),
        unlabeled_features=unlabeled,
        also_labeled=torch.arange(num) == 0,
    )


def step(loss: torch.nn.Module, inputs: LossInputs, number: int) -> dict[str, torch.Tensor]:
    loss.set_progress(0, 1, number, 100)
    return loss(inputs)


def test_terms_image_by_image():
    loss, given = acr(tau=1.5, tau_pseudo=1.0, tau_balanced=0.5, temperature=2.0), batch(0)
    terms, prior = step(loss, given, 0), torch.tensor(COUNTS) / sum(COUNTS)
    fc, uniform = given.classifier, given.classifier.uniform
    total, total_balanced = 0.0, 0.0
    for weak, *strong in given.unlabeled_features.transpose(0, 1):
        plain, adjusted, pseudo = (((uniform(weak) - t * prior.log()) / 2).softmax(0) for t in (0, 1.5, 1.0))
        balanced = (fc(weak) / 2).softmax(0)
        if max(plain.max(), adjusted.max()) >= 0.6:
            total += sum(F.cross_entropy(uniform(s), adjusted.argmax()) for s in strong)
        if max(pseudo.max(), balanced.max()) >= 0.6:
            total_balanced += sum(F.cross_entropy(fc(s), pseudo.argmax()) for s in strong)
    assert total and total_balanced
    expected = dict(
        loss_labeled=F.cross_entropy(uniform(given.features), given.label),
        loss_labeled_balanced=F.cross_entropy(given.cls_score + 0.5 * prior.log(), given.label),
        loss_unlabeled=total / 14,
        loss_unlabeled_balanced=total_balanced / 14,
    )
    torch.testing.assert_close({name: terms[name] for name in expected}, expected)


def test_anchors_follow_the_ranks_of_the_classes():
    prior = np.array([0.1, 0.6, 0.3])
    assert anchor_priors(prior).tolist() == [[0.1, 0.6, 0.3], [1 / 3] * 3, [0.6, 0.1, 0.3]]
    assert anchor_priors(np.array([0.6, 0.3, 0.1]))[2].tolist() == [0.1, 0.3, 0.6]  # sorted: a flip


def test_symmetric_kl():
    p, q = torch.tensor([0.2, 0.8]).double(), torch.tensor([0.5, 0.5]).double()
    expected = (F.kl_div(q.log(), p, reduction='sum') + F.kl_div(p.log(), q, reduction='sum')) / 2
    torch.testing.assert_close(symmetric_kl(p, q), expected)
    assert symmetric_kl(torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5])).isfinite()


def test_estimators():
    label, mask = torch.tensor([0, 2, 2, 0, 3, 0]), torch.tensor([1, 1, 1, 1, 1, 0]).bool()
    assert confident_classes(label, mask, 5, 'histogram').tolist() == [2, 0, 2, 1, 0]
    assigned = torch.zeros(5)
    for c, value in zip(label, mask):
        assigned[c] = float(value)
    assert confident_classes(label, mask, 5, 'code').tolist() == assigned.tolist() == [0, 0, 1, 1, 0]
    assert not confident_classes(label[:0], mask[:0], 5, 'code').any()


@pytest.mark.parametrize('estimator', ['code', 'histogram'])
def test_estimate_distances_and_tau(estimator):
    loss, classifier = acr(estimator=estimator, momentum=0.9), TwoBranchLinear(D, C)
    prior, distances, taus = np.full(C, 1 / C), np.zeros(3), []
    for number in range(8):
        given = batch(number, classifier=classifier)
        if number >= 2 and number % 2 == 0:
            exps = np.exp(distances / 2)
            tau, distances = 2 * exps[0] / exps.sum(), np.zeros(3)
        elif number < 2:
            tau = 2.0
        terms = step(loss, given, number)
        assert terms['tau'].item() == pytest.approx(tau)
        taus.append(tau)
        if number >= 2:
            probability, label = given.unlabeled_score[0].softmax(1).max(1)
            mask = (probability >= 0.6) & ~given.also_labeled
            counts = confident_classes(label, mask, C, estimator).numpy()
            prior = 0.9 * prior + 0.1 * counts / counts.sum()
            distances += symmetric_kl(torch.tensor(prior), loss.anchors).numpy()
        np.testing.assert_allclose(loss.estimate.prior.numpy(), prior)
        np.testing.assert_allclose(loss.adaptive.distances.numpy(), distances)
    assert taus[2] == pytest.approx(2 / 3) and len(set(taus)) == 4


def test_steps_without_confident_images_count_in_the_mean_only():
    loss = acr()
    for number, scale in enumerate([3.0, 3.0, 3.0, 0.0]):
        step(loss, batch(number, scale=scale), number)
    with torch.no_grad():
        half = loss.adaptive.distances / 2
    expected = 2 * half.softmax(0)[0].item()
    assert half.any() and step(loss, batch(4), 4)['tau'].item() == pytest.approx(expected)


def test_images_that_are_labeled_too_do_not_count():
    loss, given = acr(), batch(2)
    step(loss, LossInputs(**{**vars(given), 'also_labeled': torch.ones(7, dtype=torch.bool)}), 2)
    assert loss.estimate.prior.tolist() == [1 / C] * C and loss.estimate.num_steps == 0


def test_evaluation_mode_changes_nothing():
    loss = acr().eval()
    before = {name: value.clone() for name, value in loss.named_buffers()}
    step(loss, batch(0), 2)
    torch.testing.assert_close(dict(loss.named_buffers()), before)


def test_resume_is_exact():
    classifier, loss = TwoBranchLinear(D, C), acr()
    for number in range(9):
        fresh = MODELS.build(
            dict(type='ltmm.ACRLoss', interval=2, warmup=0, threshold=0.6)  # the counts come with the state
        )
        fresh.load_state_dict(loss.state_dict())
        given = batch(number, classifier=classifier)
        expected = step(loss, given, number)
        torch.testing.assert_close(step(fresh, given, number), expected, rtol=0, atol=0)
        torch.testing.assert_close(fresh.state_dict(), loss.state_dict(), rtol=0, atol=0)


def test_many_steps_without_a_class_stay_finite():
    loss, classifier = acr(momentum=0.5), TwoBranchLinear(D, C)
    with torch.no_grad():
        classifier.bias[:] = torch.tensor([50.0, 0, 0, 0])  # predicts one class only
    for number in range(1200):
        step(loss, batch(number % 3, classifier=classifier), number)
    assert all(value.isfinite().all() for value in (loss.estimate.prior, loss.adaptive.tau, loss.adaptive.distances))


def test_adjustment():
    prior = torch.tensor([0.9, 0.1, 0.0])
    expected = [math.log(0.81 + 1e-12), math.log(0.01 + 1e-12), math.log(1e-12)]
    torch.testing.assert_close(adjustment(prior, 2.0), torch.tensor(expected))


def test_bad_input():
    with pytest.raises(ValueError, match='ACRLoss: expected labeled images of every class, but class 1 has none'):
        MODELS.build(dict(type='ltmm.ACRLoss', class_counts=[5, 0, 2]))
    with pytest.raises(ValueError, match="`estimator` to be one of .*, but got 'mean'"):
        acr(estimator='mean')
    loss, given = acr(), batch(0)
    with pytest.raises(TypeError, match="ACRLoss needs classifier=dict.type='ltmm.TwoBranchLinear'.*got Linear"):
        step(loss, LossInputs(**{**vars(given), 'classifier': torch.nn.Linear(D, C)}), 0)
