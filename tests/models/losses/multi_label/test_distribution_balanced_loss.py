import math

import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import DistributionBalancedLoss
from ltmm.models.losses.multi_label.distribution_balanced_loss import class_balanced_weight, rebalanced_weight

COUNTS, NUM_IMAGES = [50, 20, 4], 60
PRIOR = dict(class_counts=dict(instance_counts=COUNTS, num_images=NUM_IMAGES))
TARGET = torch.tensor([[1.0, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 0]], dtype=torch.float64)
SCORE = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
REBALANCE = dict(alpha=0.1, beta=10.0, mu=0.2)
CB = dict(reweight='CB', cb_beta=0.9)


def naive(alpha, beta, mu, lambda_, kappa, gamma, balance):
    """Label by label, as in the paper."""
    loss = torch.zeros(4, 3, dtype=torch.float64)
    for i in range(4):
        draws = sum(1 / COUNTS[k] for k in range(3) if TARGET[i, k])
        for c in range(3):
            share = 1 / COUNTS[c] / draws if draws else math.inf
            weight = alpha + 1 / (1 + math.exp(-beta * (share - mu)))
            z = SCORE[i, c] - kappa * math.log(NUM_IMAGES / COUNTS[c] - 1)
            cost = F.softplus(-z) if TARGET[i, c] else F.softplus(lambda_ * z)
            focal = balance * (1 - (-cost).exp()) ** gamma
            loss[i, c] = weight * focal * cost / (1 if TARGET[i, c] else lambda_)
    return loss


@pytest.mark.parametrize('divide', [True, False])
def test_formula(divide):
    focal = dict(focal_gamma=2.0, balance=2.0)
    loss = DistributionBalancedLoss(
        **REBALANCE, neg_scale=5.0, init_bias=0.5, divide_init_bias=divide, **focal, **PRIOR, reduction='none'
    )
    torch.testing.assert_close(loss(SCORE, TARGET), naive(0.1, 10, 0.2, 5, 0.1 if divide else 0.5, 2, 2))


def test_rebalanced_bce():
    loss = DistributionBalancedLoss(**REBALANCE, **PRIOR)
    torch.testing.assert_close(loss(SCORE, TARGET), naive(0.1, 10, 0.2, 1, 0, 0, 1).mean())


def test_rebalanced_weight_without_positives():
    weight = rebalanced_weight(TARGET, 1 / torch.tensor(COUNTS, dtype=torch.float64), 0.1, 10, 0.2)
    torch.testing.assert_close(weight[3], torch.full((3,), 1.1, dtype=torch.float64))


@pytest.mark.parametrize(
    'mode, expected',
    [
        ('by_class', [[50, 20, 4]] * 4),
        ('average_n', [[50] * 3, [12] * 3, [35] * 3, [1] * 3]),
        ('min_n', [[50] * 3, [4] * 3, [20] * 3, [1] * 3]),
    ],
)
def test_class_balanced_weight(mode, expected):
    weight = class_balanced_weight(TARGET, torch.tensor(COUNTS, dtype=torch.float64), 0.9, mode).expand(4, 3)
    n = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(weight[:3], (0.1 / (1 - 0.9**n))[:3])
    if mode != 'by_class':
        assert (weight[3] == 1).all()


def test_class_balanced_weight_average_w():
    counts = torch.tensor(COUNTS, dtype=torch.float64)
    by_class = class_balanced_weight(TARGET, counts, 0.9, 'by_class')[0]
    average = class_balanced_weight(TARGET, counts, 0.9, 'average_w')[:, 0]
    expected = [by_class[0], (by_class[1] + by_class[2]) / 2, (by_class[0] + by_class[1]) / 2, 1]
    torch.testing.assert_close(average, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize('reweight, power', [('inv', 1), ('sqrt_inv', 0.5)])
def test_inverse_frequency(reweight, power):
    weight = DistributionBalancedLoss(reweight=reweight, **PRIOR).weights(TARGET)
    torch.testing.assert_close(weight, (NUM_IMAGES / torch.tensor([COUNTS], dtype=torch.float64)) ** power)


@pytest.mark.parametrize('norm, dim', [('by_instance', 1), ('by_batch', None)])
def test_weight_norm(norm, dim):
    plain = DistributionBalancedLoss(**REBALANCE, **PRIOR).weights(TARGET)
    weight = DistributionBalancedLoss(**REBALANCE, weight_norm=norm, **PRIOR).weights(TARGET)
    torch.testing.assert_close(weight, plain / (plain.max() if dim is None else plain.amax(1, keepdim=True)))


@pytest.mark.parametrize('reweight', [REBALANCE, dict(reweight='inv'), dict(CB, cb_mode='by_class')])
def test_class_without_images(reweight):
    loss = DistributionBalancedLoss(**reweight, init_bias=0.05, class_counts=[50, 0, 4])
    assert (loss.weights(TARGET).expand(4, 3)[:, 1] == 0).all() and loss.shift[1] == 0
