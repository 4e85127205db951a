import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ltmm.models.losses import ReweightedLoss
from ltmm.registry import MODELS

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])
CROSS_ENTROPY = dict(type='mmpretrain.CrossEntropyLoss')
KINDS = {
    'inverse': (dict(kind='inverse'), lambda n: 1 / n),
    'power': (dict(kind='inverse', power=0.7), lambda n: n**-0.7),
    'sqrt_inverse': (dict(kind='sqrt_inverse'), lambda n: n**-0.5),
    'effective_number': (dict(kind='effective_number', beta=0.99), lambda n: 0.01 / (1 - 0.99**n)),
}


def reweighted(loss=CROSS_ENTROPY, **kwargs) -> ReweightedLoss:
    return MODELS.build(dict(type='ltmm.ReweightedLoss', **{'loss': loss, 'class_counts': COUNTS, **kwargs}))


@MODELS.register_module(force=True)
class LossWithoutWeight(nn.Module):
    def forward(self, cls_score, label):
        return cls_score.sum()


@pytest.mark.parametrize('kind', KINDS)
def test_divided_by_the_sum_of_weights_it_is_the_mean_of_pytorch(kind):
    cfg, formula = KINDS[kind]
    score = torch.randn(5, 4)
    expected = F.cross_entropy(score, LABEL, weight=torch.tensor([formula(n) for n in COUNTS]))
    loss = reweighted(**cfg, normalize='weight_sum')
    torch.testing.assert_close(loss(score, LABEL, avg_factor=5), expected)
    torch.testing.assert_close(loss(score, LABEL), expected)


@pytest.mark.parametrize('kind', KINDS)
def test_divided_by_the_batch_weights_of_mean_one_over_the_classes_stay_as_they_are(kind):
    cfg, formula = KINDS[kind]
    weights = [formula(n) for n in COUNTS]
    weight = torch.tensor([4 * w / sum(weights) for w in weights])
    score = torch.randn(5, 4)
    expected = (weight[LABEL] * F.cross_entropy(score, LABEL, reduction='none')).sum() / 5
    loss = reweighted(**cfg, normalize='batch_size')
    torch.testing.assert_close(loss(score, LABEL, avg_factor=5), expected)
    torch.testing.assert_close(loss.class_weight.float(), weight)


@pytest.mark.parametrize('normalize', ['weight_sum', 'batch_size'])
def test_sums_and_single_losses_get_the_plain_weights(normalize):
    score, loss = torch.randn(5, 4), reweighted(kind='inverse', normalize=normalize)
    expected = loss.class_weight.float()[LABEL] * F.cross_entropy(score, LABEL, reduction='none')
    torch.testing.assert_close(loss(score, LABEL, reduction_override='none'), expected)
    torch.testing.assert_close(loss(score, LABEL, reduction_override='sum'), expected.sum())


def test_weights_of_samples_and_of_classes_multiply():
    score, loss = torch.randn(5, 4), reweighted(kind='inverse')
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0, 0.5])
    both = weight * loss.class_weight.float()[LABEL]
    expected = (both * F.cross_entropy(score, LABEL, reduction='none')).sum() / both.sum()
    torch.testing.assert_close(loss(score, LABEL, weight, avg_factor=weight.sum()), expected)


def test_soft_labels_have_the_mean_weight_of_their_classes():
    score, soft = torch.randn(5, 4), torch.rand(5, 4).softmax(1)
    loss = reweighted(dict(type='ltmm.LDAMLoss', class_counts=COUNTS), kind='inverse', normalize='batch_size')
    each = loss.loss(score, soft, reduction_override='none')
    torch.testing.assert_close(loss(score, soft), (each * (soft @ loss.class_weight.float())).mean())


def test_classes_without_samples_have_weight_zero_and_a_batch_of_them_alone_is_zero():
    loss = reweighted(kind='inverse', class_counts=[500, 60, 0, 3])
    assert loss.class_weight[2] == 0
    torch.testing.assert_close(loss.class_weight.sum(), torch.tensor(3.0, dtype=torch.float64))
    score = torch.randn(2, 4, requires_grad=True)
    value = loss(score, torch.tensor([2, 2]))
    value.backward()
    assert value == 0 and not score.grad.any()


def test_an_empty_batch_is_zero_and_differentiable():
    score = torch.zeros(0, 4, requires_grad=True)
    value = reweighted(dict(type='ltmm.SoftmaxFocalLoss', gamma=1), kind='inverse')(score, torch.zeros(0).long())
    value.backward()
    assert value == 0


@pytest.mark.parametrize(
    'cfg, error, message',
    [
        (
            dict(kind='rare'),
            ValueError,
            r"Expected `kind` to be one of \['effective_number', 'inverse', 'sqrt_inverse'\]",
        ),
        (dict(kind='inverse', normalize='sum'), ValueError, r"one of \['batch_size', 'weight_sum'\], but got 'sum'"),
        (dict(kind='effective_number'), ValueError, "`beta` belongs to kind='effective_number'.*beta=None"),
        (dict(kind='effective_number', beta=1.0), ValueError, r'Expected `beta` to be in \[0, 1\), but got 1.0'),
        (dict(kind='inverse', power=-1), ValueError, '`power`.* got -1'),
        (dict(kind='sqrt_inverse', power=1), ValueError, "`power` belongs to kind='inverse'"),
        (dict(kind='inverse', num_classes=5), ValueError, 'expected `class_counts` to have 5 entries, but got 4'),
        (
            dict(kind='inverse', loss=dict(type='ltmm.LossWithoutWeight')),
            TypeError,
            'expected `loss` to take a `weight` of each sample, but LossWithoutWeight.forward does not',
        ),
    ],
)
def test_what_cannot_work_is_refused_at_build(cfg, error, message):
    with pytest.raises(error, match=message):
        reweighted(**cfg)


@pytest.mark.parametrize('num', [1, 2, 5, 64])
def test_a_batch_of_any_size_without_weight_is_zero(num):
    score = torch.randn(num, 4, requires_grad=True)
    value = reweighted(kind='inverse', class_counts=[500, 60, 0, 3])(score, torch.full((num,), 2), avg_factor=num)
    value.backward()
    assert value == 0 and not score.grad.any()
