import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import ReweightedLoss, SoftmaxBCELoss

SCORE = 3 * torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
LABEL = torch.tensor([0, 1, 4, 4, 2, 3])


def value_and_grad(function, score):
    score = score.clone().requires_grad_()
    value = function(score)
    value.backward()
    return value.detach(), score.grad


def test_formula_and_gradient():
    got = value_and_grad(lambda score: SoftmaxBCELoss()(score, LABEL), SCORE)
    one_hot = F.one_hot(LABEL, 5).double()
    torch.testing.assert_close(got, value_and_grad(lambda z: F.binary_cross_entropy(z.softmax(1), one_hot), SCORE))


def test_class_balanced_weights_are_those_of_the_second_stage_of_weight_balancing():
    counts, beta = [50, 20, 9, 4, 1], 0.9
    loss = dict(type='ltmm.SoftmaxBCELoss')
    loss = ReweightedLoss(loss=loss, kind='effective_number', beta=beta, normalize='batch_size', class_counts=counts)
    weight = torch.tensor([(1 - beta) / (1 - beta**n) for n in counts], dtype=torch.float64)
    weight *= 5 / weight.sum()
    per_entry = weight[LABEL][:, None].expand(6, 5)
    expected = F.binary_cross_entropy(SCORE.softmax(1), F.one_hot(LABEL, 5).double(), weight=per_entry)
    torch.testing.assert_close(loss(SCORE, LABEL), expected)


@pytest.mark.parametrize('label', [0, 1])
def test_gradient_at_a_probability_that_rounds_to_1(label):
    """p = 1 in float32, where log(1 - p) would be minus infinity."""
    score, label = torch.tensor([[50.0, 0.0, 0.0]]), torch.tensor([label])
    value, grad = value_and_grad(lambda z: SoftmaxBCELoss()(z, label), score)
    exact = value_and_grad(lambda z: SoftmaxBCELoss()(z, label), score.double())
    torch.testing.assert_close((value.double(), grad.double()), exact, atol=1e-7, rtol=1e-6)
    assert (grad.abs().sum() > 1) == bool(label)
