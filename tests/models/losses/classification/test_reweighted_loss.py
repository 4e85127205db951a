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
def test_weight_sum_is_the_mean_of_pytorch(kind):
    cfg, formula = KINDS[kind]
    score = torch.randn(5, 4)
    expected = F.cross_entropy(score, LABEL, weight=torch.tensor([formula(n) for n in COUNTS]))
    loss = reweighted(**cfg, normalize='weight_sum')
    torch.testing.assert_close(loss(score, LABEL, avg_factor=5), expected)
    torch.testing.assert_close(loss(score, LABEL), expected)


@pytest.mark.parametrize('kind', KINDS)
def test_batch_size_keeps_weights_of_mean_one(kind):
    cfg, formula = KINDS[kind]
    weights = [formula(n) for n in COUNTS]
    weight = torch.tensor([4 * w / sum(weights) for w in weights])
    score = torch.randn(5, 4)
    expected = (weight[LABEL] * F.cross_entropy(score, LABEL, reduction='none')).sum() / 5
    loss = reweighted(**cfg, normalize='batch_size')
    torch.testing.assert_close(loss(score, LABEL, avg_factor=5), expected)
    torch.testing.assert_close(loss.class_weight.float(), weight)


@pytest.mark.parametrize('normalize', ['weight_sum', 'batch_size'])
def test_sum_and_none_use_the_plain_weights(normalize):
    score, loss = torch.randn(5, 4), reweighted(kind='inverse', normalize=normalize)
    expected = loss.class_weight.float()[LABEL] * F.cross_entropy(score, LABEL, reduction='none')
    torch.testing.assert_close(loss(score, LABEL, reduction_override='none'), expected)
    torch.testing.assert_close(loss(score, LABEL, reduction_override='sum'), expected.sum())


def test_sample_and_class_weights_multiply():
    score, loss = torch.randn(5, 4), reweighted(kind='inverse')
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0, 0.5])
    both = weight * loss.class_weight.float()[LABEL]
    expected = (both * F.cross_entropy(score, LABEL, reduction='none')).sum() / both.sum()
    torch.testing.assert_close(loss(score, LABEL, weight, avg_factor=weight.sum()), expected)


def test_soft_labels_average_the_weights():
    score, soft = torch.randn(5, 4), torch.rand(5, 4).softmax(1)
    loss = reweighted(dict(type='ltmm.LDAMLoss', class_counts=COUNTS), kind='inverse', normalize='batch_size')
    each = loss.loss(score, soft, reduction_override='none')
    torch.testing.assert_close(loss(score, soft), (each * (soft @ loss.class_weight.float())).mean())


@pytest.mark.parametrize('num', [1, 2, 5, 64])
def test_batch_of_classes_without_samples_is_zero(num):
    loss = reweighted(kind='inverse', class_counts=[500, 60, 0, 3])
    assert loss.class_weight[2] == 0 and loss.class_weight.sum().item() == pytest.approx(3)
    score = torch.randn(num, 4, requires_grad=True)
    value = loss(score, torch.full((num,), 2), avg_factor=num)
    value.backward()
    assert value == 0 and not score.grad.any()


@pytest.mark.parametrize('inner', ['ltmm.LossWithoutWeight', 'ltmm.EQLv2Loss', 'ltmm.MultiLabelBCELoss'])
def test_loss_that_cannot_be_reweighted(inner):
    with pytest.raises(TypeError, match='ReweightedLoss (accepts|needs)'):
        reweighted(dict(type=inner), kind='inverse')


@pytest.mark.parametrize('wrapper', ['ReweightedLoss', 'DeferredReweighting', 'AREAReweighting'])
@pytest.mark.parametrize(
    'inner',
    [
        dict(type='ltmm.ReweightedLoss', loss=CROSS_ENTROPY, kind='inverse'),
        dict(type='ltmm.DeferredReweighting', loss=CROSS_ENTROPY, kind='inverse', start_epoch=1),
        dict(type='ltmm.ClassBalancedLoss', loss_type='softmax', beta=0.9),
        dict(type='ltmm.ClassBalancedBCELoss'),
        dict(type='ltmm.GeometricMeanLoss'),
    ],
)
def test_two_weights_are_refused(wrapper, inner):
    options = dict(ReweightedLoss=dict(kind='inverse'), DeferredReweighting=dict(kind='inverse', start_epoch=1))
    options = options.get(wrapper, dict(start_epoch=1))
    with pytest.raises(ValueError, match=f'{inner["type"][5:]} re-weights the classes already'):
        MODELS.build(dict(options, type=f'ltmm.{wrapper}', loss=inner))
