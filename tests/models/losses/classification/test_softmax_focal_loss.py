import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.classification.softmax_focal_loss import SoftmaxFocalLoss, focal_modulation
from ltmm.registry import MODELS

LABEL = torch.tensor([0, 1, 3, 3, 2])


@pytest.mark.parametrize('gamma', [0.5, 1, 2])
def test_formula(gamma):
    score = torch.randn(5, 4, dtype=torch.float64)
    prob = score.softmax(1)[range(5), LABEL]
    loss = SoftmaxFocalLoss(gamma=gamma, reduction='none')(score, LABEL)
    torch.testing.assert_close(loss, -((1 - prob) ** gamma) * prob.log())


def test_gamma_0_is_cross_entropy():
    score = torch.randn(5, 4)
    torch.testing.assert_close(SoftmaxFocalLoss(gamma=0)(score, LABEL), F.cross_entropy(score, LABEL))


def test_weights_are_inside_of_the_exponent():
    score, counts = torch.randn(5, 4, dtype=torch.float64), [8, 4, 2, 1]
    inner = dict(type='ltmm.SoftmaxFocalLoss', gamma=2, reduction='none')
    loss = MODELS.build(
        dict(type='ltmm.ReweightedLoss', loss=inner, kind='inverse', normalize='batch_size', class_counts=counts)
    )
    weight = torch.tensor([1 / n for n in counts]).double()
    weighted = (4 * weight / weight.sum())[LABEL] * F.cross_entropy(score, LABEL, reduction='none')
    torch.testing.assert_close(loss(score, LABEL), (1 - (-weighted).exp()) ** 2 * weighted)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('gamma', [0, 0.01, 0.5, 1, 2])
def test_gradient_at_a_certain_prediction(gamma, dtype):
    loss = torch.tensor([0.0, 1e-40, 1e-30, 1e-8, 1e4], dtype=dtype, requires_grad=True)
    focal_modulation(loss, gamma).sum().backward()
    assert loss.grad.isfinite().all() and loss.grad[-1] == 1
