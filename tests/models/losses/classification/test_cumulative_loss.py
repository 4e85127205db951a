import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.models.layers import TwoBranchLinear
from ltmm.models.losses import BalancedSoftmaxLoss, CumulativeLoss, LossInputs
from ltmm.models.losses.classification.cumulative_loss import uniform_share

COUNTS = [400, 60, 3]
SOFT = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])


def build(epoch: int = 5, counts: list[int] = COUNTS, **options) -> CumulativeLoss:
    loss = CumulativeLoss(class_counts=counts, **options)
    loss.set_progress(epoch, 10)
    return loss


def inputs(label: Tensor = SOFT, views: int = 2, dtype: torch.dtype = torch.float64, scale: float = 1.0) -> LossInputs:
    torch.manual_seed(0)
    features = torch.randn(views * len(label), 5).to(dtype)
    classifier = TwoBranchLinear(5, 3).to(torch.float32 if dtype == torch.bfloat16 else dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        score = classifier(features) * scale
    return LossInputs(label, score, features=features, classifier=classifier)


def naive(given: LossInputs, share: float, power: float, tau: float) -> tuple[float, float]:
    """Both terms, entry by entry in Python's floats."""
    weight = [n**-power for n in COUNTS]
    weight = [3 * w / sum(weight) for w in weight]
    uniform = balanced = 0.0
    for logits, which in ((given.classifier.uniform(given.features), 0), (given.cls_score, 1)):
        for row, z in enumerate(logits.tolist()):
            z = [x + tau * which * math.log(n / sum(COUNTS)) for x, n in zip(z, COUNTS)]
            log_sum = math.log(sum(math.exp(x) for x in z))
            for c, t in enumerate(given.label.tolist()[row % len(given.label)]):
                if which:
                    balanced -= weight[c] * t * (z[c] - log_sum)
                else:
                    uniform -= t * (z[c] - log_sum)
    return share * uniform / len(given.label), (1 - share) * balanced / len(given.label)


@pytest.mark.parametrize('views', [1, 2])
@pytest.mark.parametrize(('power', 'tau'), [(1.2, 0.0), (0.0, 1.0), (1.0, 0.5)])
def test_equals_the_formula(power, tau, views):
    given = inputs(views=views)
    terms = build(power=power, tau=tau)(given)
    expected = naive(given, 1 - 0.5**2, power, tau)
    torch.testing.assert_close([*terms.values()], [torch.tensor(x, dtype=torch.float64) for x in expected])
    assert [*terms] == ['loss_uniform', 'loss_balanced']


def test_class_indices_are_one_hot_labels():
    label = torch.tensor([0, 2, 1, 2])
    expected = build()(inputs(F.one_hot(label, 3)))
    torch.testing.assert_close(build()(inputs(label)), expected)


def test_shares_of_a_whole_training():
    shares = [uniform_share(epoch, 200) for epoch in range(200)]
    assert shares[0] == 1 and shares[100] == 0.75 and 0 < shares[-1] < 0.01
    assert shares == sorted(shares, reverse=True)


@pytest.mark.parametrize(('epoch', 'learns'), [(0, False), (9, True)])
def test_the_classifier_that_predicts_learns_later(epoch, learns):
    given = inputs()
    sum(build(epoch)(given).values()).backward()
    layer = given.classifier
    assert layer.weight.grad.any() == learns and layer.uniform.weight.grad.any()


def test_balanced_softmax_is_that_of_the_house():
    given = inputs()
    expected = BalancedSoftmaxLoss(class_counts=COUNTS)(given.cls_score, SOFT.repeat(2, 1).double(), avg_factor=4)
    torch.testing.assert_close(build(power=0, tau=1)(given)['loss_balanced'], 0.25 * expected)


@pytest.mark.parametrize('tau', [0.0, 1.0])
def test_class_without_images_and_large_logits(tau):
    given = inputs(torch.tensor([0, 2, 0]), scale=1e4)
    given.cls_score.retain_grad()
    terms = build(counts=[5, 0, 2], tau=tau)(given)
    sum(terms.values()).backward()
    assert all(term.isfinite() for term in terms.values()) and given.cls_score.grad.isfinite().all()


def test_gradient():
    given = inputs()

    def total(score: Tensor, features: Tensor) -> Tensor:
        return sum(build()(LossInputs(SOFT, score, features=features, classifier=given.classifier)).values())

    leaves = [x.detach().requires_grad_() for x in (given.cls_score, given.features)]
    assert torch.autograd.gradcheck(total, leaves)


def test_bfloat16_logits_are_computed_in_float32():
    terms = build()(inputs(dtype=torch.bfloat16))
    expected = build()(inputs(dtype=torch.float32))
    assert all(term.dtype == torch.float32 for term in terms.values())
    torch.testing.assert_close(terms, expected, rtol=0.05, atol=0)


def test_needs_two_classifiers():
    given = inputs()
    with pytest.raises(TypeError, match=r"classifier=dict\(type='ltmm.TwoBranchLinear'\), but got Linear"):
        build()(LossInputs(SOFT, given.cls_score, features=given.features, classifier=nn.Linear(5, 3)))


def test_needs_the_progress():
    with pytest.raises(RuntimeError, match='ltmm.ProgressHook'):
        CumulativeLoss(class_counts=COUNTS)(inputs())
