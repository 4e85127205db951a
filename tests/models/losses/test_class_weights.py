"""``class_weight`` means the same in every loss: a factor of the loss of a sample, label or proposal of the class."""

import inspect

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm import ClassDistribution
from ltmm.class_distribution import ClassDistributionError
from ltmm.models.accepts import ForeignClassWeights
from ltmm.models.losses.base import LogitLoss
from ltmm.models.losses.detection.base import DetectionLoss
from ltmm.models.losses.multi_label.base import MultiLabelLoss
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError, MissingInputError

NAN, INF = float('nan'), float('inf')
C, COUNTS, NAMES = 4, [500, 60, 20, 3], ('cat', 'dog', 'emu', 'fox')
WEIGHT = [0.5, 0.0, 2.0, 3.0]
BY_NAME = dict(fox=3.0, cat=0.5, dog=0.0, emu=2.0)
LABEL, BOX_LABEL = torch.tensor([0, 1, 3, 3, 2]), torch.tensor([0, C, 1, 3, C])
TARGET = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 1, 1], [1, 1, 1, 1]])
ARGUMENTS = dict(  # those without a default
    CDTLoss=dict(gamma=0.3),
    DistributionBalancedLoss=dict(alpha=0.1, beta=10.0, mu=0.2),
    DropLoss=dict(lambda_=1e-9),  # draws nothing without a tail
    EQLLoss=dict(lambda_=0.1),
    FederatedLoss=dict(num_sampled_classes=C),
    LabelAwareSmoothingLoss=dict(smooth_head=0.4, smooth_tail=0.1),
    MultiLabelFocalLoss=dict(gamma=2.0, balance=2.0),
    PartialASLLoss=dict(mode='ignore'),
    ReflectiveLabelCorrectorLoss=dict(start_epoch=0),
    SoftmaxEQLLoss=dict(lambda_=0.1, drop_prob=1.0),
    SigmoidFocalLoss=dict(gamma=2.0),
    SoftmaxFocalLoss=dict(gamma=1.0),
    VSLoss=dict(gamma=0.2, tau=1.2),
)
WRAPPERS = dict(  # these weight another loss, which takes the argument; in GML the classes count the same
    AREAReweighting=dict(start_epoch=0, loss=dict(type='ltmm.LDAMLoss')),
    ReweightedLoss=dict(kind='inverse', normalize='batch_size', loss=dict(type='ltmm.LDAMLoss')),
    DeferredReweighting=dict(kind='inverse', normalize='batch_size', start_epoch=0, loss=dict(type='ltmm.LDAMLoss')),
    ClassBalancedLoss=dict(loss_type='softmax', beta=0.9),
    GeometricMeanLoss=dict(),
    ROGLoss=dict(loss=dict(type='ltmm.SigmoidCrossEntropyLoss')),
    CCSAMLoss=dict(),
    CCSAMFeatureLoss=dict(),
)
LOSSES = sorted(
    name
    for name, cls in MODELS.module_dict.items()
    if inspect.isclass(cls)
    and issubclass(cls, LogitLoss)
    and cls.__module__.startswith('ltmm.')
    and name not in WRAPPERS
)


def build(name: str, names: tuple | None = NAMES, **options) -> nn.Module:
    loss = MODELS.build({'type': f'ltmm.{name}', **ARGUMENTS.get(name, WRAPPERS.get(name, {})), **options})
    together = np.full((C, C), 2)
    np.fill_diagonal(together, COUNTS)
    hand_out(loss, ClassDistribution(COUNTS, num_images=540, class_names=names, co_occurrence=together))
    if isinstance(loss, DetectionLoss):
        loss.get_cls_channels(C)
    return loss


def hand_out(module: nn.Module, distribution: ClassDistribution) -> None:
    for part in module.modules():
        if hasattr(part, 'set_class_distribution'):
            part.set_class_distribution(distribution)
        if hasattr(part, 'set_progress'):
            part.set_progress(1, 10)


def value(loss: nn.Module, score: Tensor, *weight: Tensor, **kwargs) -> Tensor:
    label = TARGET if isinstance(loss, MultiLabelLoss) else LABEL
    label = BOX_LABEL if isinstance(loss, DetectionLoss) else label
    result = loss(score, label, *weight, **kwargs)
    return torch.stack(list(result.values())) if isinstance(result, dict) else result


def scores(loss: nn.Module) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(5, loss.num_columns if isinstance(loss, DetectionLoss) else C)


def factor(loss: nn.Module, class_weight: list[float]) -> Tensor:
    """The weight of each sample, label or proposal."""
    if isinstance(loss, MultiLabelLoss):
        return torch.tensor(class_weight)
    label = BOX_LABEL if isinstance(loss, DetectionLoss) else LABEL
    return torch.tensor([[*class_weight, 1.0][i] for i in label.tolist()])


@pytest.mark.parametrize('name', LOSSES)
def test_class_weight_multiplies_the_loss(name):
    plain, listed = build(name), build(name, class_weight=WEIGHT)
    score, sample_weight = scores(plain), torch.tensor([1.0, 0.5, 2.0, 0.0, 1.0])
    each = value(plain, score, sample_weight, reduction_override='none') * factor(plain, WEIGHT)
    torch.testing.assert_close(value(listed, score, sample_weight, reduction_override='none'), each)
    assert not torch.allclose(each, value(build(name), score, sample_weight, reduction_override='none'))
    for reduction in ('sum', 'mean'):
        divisor = 1 if reduction == 'sum' else each[0].numel() * len(each) if isinstance(plain, MultiLabelLoss) else 5
        total = each.sum(1) if isinstance(plain, DetectionLoss) and each.dim() == 2 else each.sum()
        got = value(build(name, class_weight=WEIGHT), score, sample_weight, reduction_override=reduction)
        torch.testing.assert_close(got, total / divisor)
    assert listed.balances_classes


@pytest.mark.parametrize('name', LOSSES)
def test_class_weight_by_name_and_auto(name):
    by_name, listed = build(name, class_weight=BY_NAME), build(name, class_weight=WEIGHT)
    score = scores(listed)
    torch.testing.assert_close(value(by_name, score), value(listed, score), rtol=0, atol=0)
    inverse = (1 / torch.tensor(COUNTS)) / (1 / torch.tensor(COUNTS)).mean()
    auto, listed = build(name, class_weight='auto'), build(name, class_weight=inverse.tolist())
    torch.testing.assert_close(value(auto, score), value(listed, score))


@pytest.mark.parametrize('name', WRAPPERS)
def test_wrappers_refuse_class_weight(name):
    with pytest.raises(TypeError, match=f'{name} takes no `class_weight`: '):
        build(name, class_weight='auto')


@pytest.mark.parametrize('name', ['ReweightedLoss', 'DeferredReweighting'])
def test_class_weight_of_a_wrapped_loss(name):
    loss = build(name, loss=dict(type='ltmm.LDAMLoss', class_weight=WEIGHT))
    score, plain = scores(loss), build(name)
    each = value(plain, score, reduction_override='none') * factor(plain, WEIGHT)
    torch.testing.assert_close(value(loss, score), each.mean())


@pytest.mark.parametrize('name', [n for n in LOSSES if getattr(MODELS.get(n), 'accepts_soft_labels', False)])
def test_soft_labels_weight_the_loss_of_each_class(name):
    plain, loss, score = build(name), build(name, class_weight=WEIGHT), torch.randn(5, C)
    label, weight = torch.rand(5, C).softmax(1), torch.tensor(WEIGHT)
    got = loss(score, label, reduction_override='none')
    if name == 'SoftmaxFocalLoss':  # not linear in the label
        total = label @ weight
        mixed = label * weight / total[:, None]
        torch.testing.assert_close(got, total * plain(score, mixed, reduction_override='none'))
    else:
        each = [plain(score, torch.full((5,), c), reduction_override='none') for c in range(C)]
        torch.testing.assert_close(got, (label * weight * torch.stack(each, dim=1)).sum(1))
    one_hot = F.one_hot(LABEL, C).float()
    torch.testing.assert_close(
        loss(score, one_hot, reduction_override='none'), loss(score, LABEL, reduction_override='none')
    )


def test_soft_labels_as_in_mmpretrain():
    score, label = torch.randn(5, C), torch.rand(5, C).softmax(1)
    ours = build('LogitAdjustmentLoss', tau=0.0, class_weight=WEIGHT)(score, label)
    theirs = MODELS.build(dict(type='mmpretrain.CrossEntropyLoss', use_soft=True, class_weight=WEIGHT))(score, label)
    torch.testing.assert_close(ours, theirs)


def test_auto_equals_reweighted_loss_and_mmpretrain():
    score = torch.randn(5, C)
    ours = build('LogitAdjustmentLoss', tau=0.0, class_weight='auto')(score, LABEL)
    reweighted = build('ReweightedLoss', loss=dict(type='mmpretrain.CrossEntropyLoss'))(score, LABEL)
    weight = ClassDistribution(COUNTS).weights('inverse').tolist()
    theirs = MODELS.build(dict(type='mmpretrain.CrossEntropyLoss', class_weight=weight))(score, LABEL)
    torch.testing.assert_close(ours, reweighted)
    torch.testing.assert_close(ours, theirs)


def test_class_without_images_has_weight_0():
    loss = MODELS.build(dict(type='ltmm.SigmoidFocalLoss', gamma=0.0, class_weight='auto'))
    hand_out(loss, ClassDistribution([6, 0, 3]))
    score = torch.zeros(3, 3, requires_grad=True)
    each = loss(score, torch.tensor([0, 1, 2]), reduction_override='none')
    torch.testing.assert_close(each / F.softplus(torch.tensor(0.0)) / 3, torch.tensor([2 / 3, 0, 4 / 3]))
    each.sum().backward()
    assert score.grad.isfinite().all() and not score.grad[1].any()


def test_auto_follows_the_class_counts_of_the_loss():
    loss = MODELS.build(dict(type='ltmm.BalancedSoftmaxLoss', class_counts=COUNTS, class_weight='auto'))
    score = torch.randn(5, C)
    torch.testing.assert_close(loss(score, LABEL), build('BalancedSoftmaxLoss', class_weight='auto')(score, LABEL))
    hand_out(loss, ClassDistribution([1, 2, 3, 4]))
    torch.testing.assert_close(loss(score, LABEL), build('BalancedSoftmaxLoss', class_weight='auto')(score, LABEL))


def test_checkpoint_carries_the_counts_of_auto():
    trained = build('SoftmaxFocalLoss', class_weight='auto')
    fresh = MODELS.build(dict(type='ltmm.SoftmaxFocalLoss', gamma=1.0, class_weight='auto'))
    fresh.load_state_dict(trained.state_dict())
    score = torch.randn(5, C)
    assert torch.equal(fresh(score, LABEL), trained(score, LABEL))


@pytest.mark.parametrize('base', ['SoftmaxFocalLoss', 'MultiLabelBCELoss', 'SigmoidCrossEntropyLoss'])
@pytest.mark.parametrize(
    'class_weight',
    ['balanced', 2.0, [[1.0]], [], ['a'], [1, -1, 1, 1], [1, 1, 1, NAN], [1, 1, 1, INF], {}, {'cat': -1}, {'cat': NAN}],
    ids=str,
)
def test_bad_class_weight_at_build(base, class_weight):
    with pytest.raises(InputError, match='`class_weight`'):
        build(base, class_weight=class_weight)


@pytest.mark.parametrize(
    'class_weight, message',
    [
        ([1.0] * 5, 'SoftmaxFocalLoss: expected `class_weight` to have 4 entries.* but got 5'),
        (dict(cat=2.0, dgo=1.0), "'dgo' is none. Did you mean dog?"),
        ({0: 2.0}, '0 is none'),
    ],
)
def test_class_weight_of_other_classes(class_weight, message):
    with pytest.raises(ClassDistributionError, match=message):
        build('SoftmaxFocalLoss', class_weight=class_weight)


def test_class_weight_by_name_without_names():
    with pytest.raises(ClassDistributionError, match='SoftmaxFocalLoss: expected class names in the training data'):
        build('SoftmaxFocalLoss', names=None, class_weight=dict(cat=2.0))
    partial = build('SoftmaxFocalLoss', class_weight=dict(cat=2.0))  # the others have weight 1
    listed = build('SoftmaxFocalLoss', class_weight=[2.0, 1, 1, 1])
    torch.testing.assert_close(value(partial, scores(partial)), value(listed, scores(listed)))


@pytest.mark.parametrize('class_weight', ['auto', dict(cat=2.0)], ids=str)
def test_class_weight_needs_the_distribution(class_weight):
    loss = MODELS.build(dict(type='ltmm.SoftmaxFocalLoss', gamma=1.0, class_weight=class_weight))
    with pytest.raises(MissingInputError, match='SoftmaxFocalLoss: class_weight=.* needs the class distribution'):
        loss(torch.randn(5, C), LABEL)


def test_logits_of_other_classes():
    loss = MODELS.build(dict(type='ltmm.SoftmaxFocalLoss', gamma=1.0, class_weight=WEIGHT))
    with pytest.raises(InputError, match='expected `class_weight` to have 5 entries, one per logit, but got 4'):
        loss(torch.randn(5, 5), LABEL)


def test_eqlv2_accumulates_weighted_gradients():
    plain, loss = build('EQLv2Loss'), build('EQLv2Loss', class_weight=[2.0] * C)
    score = scores(loss)
    for each in (plain, loss):
        each(score[[0, 2, 3]], BOX_LABEL[[0, 2, 3]])
    torch.testing.assert_close(loss.gradients.negative, 2 * plain.gradients.negative)
    assert plain.gradients.positive.any()


def foreign_model(**losses: dict) -> nn.Module:
    return nn.ModuleDict({name: MODELS.build(cfg) for name, cfg in losses.items()})


def test_cross_entropy_of_mmpretrain_takes_auto_and_names():
    ce = dict(type='mmpretrain.CrossEntropyLoss')
    model = foreign_model(auto=dict(ce, class_weight='auto'), names=dict(ce, class_weight=BY_NAME), plain=ce)
    weights, distribution = ForeignClassWeights(model), ClassDistribution(COUNTS, class_names=NAMES)
    for _ in range(2):  # before_run and before_train
        weights.set_class_distribution(distribution)
        assert model['auto'].class_weight == distribution.weights('inverse').tolist()
        assert model['names'].class_weight == WEIGHT and model['plain'].class_weight is None
    with pytest.raises(InputError, match='balanced.*CrossEntropyLoss.*`class_weight`'):
        ForeignClassWeights(foreign_model(balanced=dict(ce, class_weight='balanced')))


@pytest.mark.parametrize('class_weight', [[1, -2, NAN], [[1.0]], [], (1, INF)], ids=str)
@pytest.mark.parametrize('loss', ['mmpretrain.CrossEntropyLoss', 'mmdet.CrossEntropyLoss'])
def test_bad_lists_of_foreign_cross_entropies(loss, class_weight):
    if loss.startswith('mmdet'):
        pytest.importorskip('mmdet')
    model = foreign_model(ce=dict(type=loss, class_weight=class_weight))
    with pytest.raises(InputError, match='`class_weight`'):
        ForeignClassWeights(model)


@pytest.mark.parametrize('loss, lengths', [('mmpretrain', [3, 5]), ('mmdet', [3, 6])])
def test_lists_of_other_classes_in_foreign_cross_entropies(loss, lengths):
    if loss == 'mmdet':
        pytest.importorskip('mmdet')
    for length in lengths:
        model = foreign_model(ce=dict(type=f'{loss}.CrossEntropyLoss', class_weight=[1.0] * length))
        with pytest.raises(ClassDistributionError, match=f'ce .* to have 4 entries.* but got {length}'):
            ForeignClassWeights(model).set_class_distribution(ClassDistribution(COUNTS))
        model.num_classes = length  # a head of other classes than those of the training data
        ForeignClassWeights(model).set_class_distribution(ClassDistribution(COUNTS))
        assert model['ce'].class_weight == [1.0] * length


def test_list_of_a_sigmoid_of_mmdet_stays():
    pytest.importorskip('mmdet')
    model = foreign_model(ce=dict(type='mmdet.CrossEntropyLoss', use_sigmoid=True, class_weight=[2.0]))
    ForeignClassWeights(model).set_class_distribution(ClassDistribution(COUNTS))
    assert model['ce'].class_weight == [2.0]


def test_cross_entropy_of_mmdet_takes_auto_and_names():
    pytest.importorskip('mmdet')
    ce = dict(type='mmdet.CrossEntropyLoss', class_weight=BY_NAME)
    model = foreign_model(softmax=ce)
    ForeignClassWeights(model).set_class_distribution(ClassDistribution(COUNTS, class_names=NAMES))
    assert model['softmax'].class_weight == [*WEIGHT, 1.0]
    for class_weight, expected in ((WEIGHT, [*WEIGHT, 1.0]), ([*WEIGHT, 0.2], [*WEIGHT, 0.2])):
        model = foreign_model(softmax=dict(ce, class_weight=class_weight))
        for _ in range(2):
            ForeignClassWeights(model).set_class_distribution(ClassDistribution(COUNTS))
            assert model['softmax'].class_weight == expected
    with pytest.raises(InputError, match='sigmoid.*expected `class_weight` to be a list'):
        ForeignClassWeights(foreign_model(sigmoid=dict(ce, use_sigmoid=True)))
