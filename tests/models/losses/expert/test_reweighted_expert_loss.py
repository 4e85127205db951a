"""ReweightedLoss and DeferredReweighting around losses of several experts."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from toy_losses import expert_terms, prepare

from ltmm.models.losses import DeferredReweighting, LossInputs, ReweightedLoss
from ltmm.models.losses.expert import DeferredExpertReweighting, ExpertLoss, ReweightedExpertLoss
from ltmm.registry import MODELS

COUNTS = [100, 30, 5, 1]
LABEL = torch.tensor([0, 1, 1, 2, 0, 3])
WEIGHT = (1 / torch.tensor(COUNTS)) / (1 / torch.tensor(COUNTS)).mean()  # inverse, mean 1
CE = dict(type='mmpretrain.CrossEntropyLoss')
RIDE = dict(type='ltmm.RIDELoss', diversity_factor=-0.45, reweight_factor=0.05)
LDAM = dict(type='ltmm.LDAMLoss')
SADE, PER_EXPERT = dict(type='ltmm.SADELoss'), dict(type='ltmm.PerExpertLoss', loss=LDAM)
LOSSES = dict(
    ride=dict(RIDE, reweight_epoch=None),
    ride_distill=dict(RIDE, type='ltmm.RIDEDistillLoss', reweight_epoch=None),
    sade=SADE,
    balpoe=dict(type='ltmm.BalPoELoss'),
    mdcs=dict(type='ltmm.MDCSLoss'),
    shike=dict(type='ltmm.SHIKELoss'),
    per_expert=PER_EXPERT,
)
each_loss = pytest.mark.parametrize('name', LOSSES)


def build(cfg: dict, epoch: int = 1, counts: list[int] = COUNTS) -> ExpertLoss:
    return prepare(MODELS.build(cfg), counts, epoch=epoch)


def inputs(loss: ExpertLoss) -> LossInputs:
    """Of several views, all experts are right in the first, as MDCS asks."""
    generator, num_views = torch.Generator().manual_seed(0), loss.num_views
    logits = torch.randn(3, num_views, len(LABEL), 4, generator=generator) + 20 * (num_views - 1) * F.one_hot(LABEL, 4)
    teacher = torch.randn(len(LABEL), 4, generator=generator)
    return LossInputs(LABEL, expert_logits=logits.flatten(1, 2), teacher_logits=teacher)


def single(loss: ExpertLoss, i: int) -> dict[str, torch.Tensor]:
    """Terms of one image alone."""
    batch, rows = inputs(loss), range(i, loss.num_views * len(LABEL), len(LABEL))
    one = dict(expert_logits=batch.expert_logits[:, rows], teacher_logits=batch.teacher_logits[[i]])
    return loss(LossInputs(LABEL[[i]], **one))


@each_loss
@pytest.mark.parametrize('normalize', ['weight_sum', 'batch_size'])
def test_weights_multiply_all_terms_of_an_image(name, normalize):
    plain = build(LOSSES[name])
    loss = build(dict(type='ltmm.ReweightedLoss', loss=LOSSES[name], kind='inverse', normalize=normalize))
    got, weight = loss(inputs(loss)), WEIGHT[LABEL]
    total = weight.sum() if normalize == 'weight_sum' else len(LABEL)
    for term, value in got.items():
        expected = sum(weight[i] * single(plain, i)[term] for i in range(len(LABEL))) / total
        torch.testing.assert_close(value, expected)
    assert loss.balances_classes and isinstance(loss, ExpertLoss)


@each_loss
def test_plain_loss_then_reweighted_loss(name):
    cfg = dict(loss=LOSSES[name], kind='effective_number', beta=0.9)
    plain, reweighted = build(LOSSES[name]), build(dict(type='ltmm.ReweightedLoss', **cfg))
    loss = build(dict(type='ltmm.DeferredReweighting', start_epoch=2, **cfg))
    for epoch in range(4):
        prepare(loss, COUNTS, epoch), prepare(plain, COUNTS, epoch), prepare(reweighted, COUNTS, epoch)
        expected = plain if epoch < 2 else reweighted
        torch.testing.assert_close(loss(inputs(loss)), expected(inputs(loss)), rtol=0, atol=0)
    assert loss(inputs(loss)) != plain(inputs(loss))


def test_ldam_drw_inside_and_outside_of_each_expert():
    drw = dict(type='ltmm.DeferredReweighting', start_epoch=1, kind='effective_number', beta=0.99)
    outside = build(dict(drw, loss=PER_EXPERT))
    inside = build(dict(type='ltmm.PerExpertLoss', loss=dict(drw, loss=LDAM)))
    for epoch in (0, 1):
        prepare(outside, COUNTS, epoch), prepare(inside, COUNTS, epoch)
        torch.testing.assert_close(outside(inputs(outside)), inside(inputs(inside)))


def test_soft_labels_weight_each_class():
    loss = build(dict(type='ltmm.ReweightedLoss', loss=SADE, kind='inverse'))
    soft, logits = torch.rand(6, 4).softmax(1), torch.randn(3, 6, 4)
    expected = -(soft * WEIGHT * logits[0].log_softmax(1)).sum() / (soft @ WEIGHT).sum()
    torch.testing.assert_close(expert_terms(loss, logits, soft)['loss_forward'], expected)


def test_class_without_images():
    loss = build(dict(type='ltmm.ReweightedLoss', loss=SADE, kind='inverse'), counts=[100, 30, 0, 1])
    logits = torch.randn(3, 2, 4, requires_grad=True)
    for label in ([2, 2], [2, 0]):
        value = sum(expert_terms(loss, logits, torch.tensor(label)).values())
        (grad,) = torch.autograd.grad(value, logits)
        assert value.isfinite() and grad.isfinite().all() and not grad[:, 0].any()
    assert sum(expert_terms(loss, logits, torch.tensor([2, 2])).values()) == 0


def test_form_follows_the_loss_inside():
    sade = dict(loss=SADE, kind='inverse')
    assert type(ReweightedLoss(**sade)) is ReweightedExpertLoss
    assert type(DeferredReweighting(start_epoch=1, **sade)) is DeferredExpertReweighting
    assert type(ReweightedLoss(loss=dict(type=type(MODELS.build(SADE))), kind='inverse')) is ReweightedExpertLoss
    assert type(ReweightedLoss(loss=LDAM, kind='inverse')) is ReweightedLoss


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_copy_has_weights_of_its_own(duplicate):
    loss = build(dict(type='ltmm.ReweightedLoss', loss=SADE, kind='inverse'))
    before, twin = loss(inputs(loss)), prepare(duplicate(loss), [1, 1, 1, 100])
    torch.testing.assert_close(loss(inputs(loss)), before, rtol=0, atol=0)
    assert twin(inputs(twin)) != loss(inputs(loss))


def test_checkpoint_carries_the_weights():
    cfg = dict(type='ltmm.DeferredReweighting', loss=SADE, kind='inverse', start_epoch=0)
    loss, fresh = build(cfg), MODELS.build(cfg)
    fresh.load_state_dict(loss.state_dict())
    fresh.set_progress(0, 1)
    torch.testing.assert_close(fresh(inputs(loss)), loss(inputs(loss)), rtol=0, atol=0)


REWEIGHTED = dict(type='ltmm.ReweightedLoss', kind='inverse')
DEFERRED = dict(type='ltmm.DeferredReweighting', kind='inverse', start_epoch=1)


@pytest.mark.parametrize('wrapper', [REWEIGHTED, DEFERRED, dict(type='ltmm.AREAReweighting', start_epoch=1)])
@pytest.mark.parametrize(
    'inner, who',
    [
        (dict(RIDE, reweight_epoch=160), 'RIDELoss'),
        (dict(SADE, class_weight='auto'), 'SADELoss'),
        (dict(REWEIGHTED, loss=SADE), 'ReweightedExpertLoss'),
        (dict(DEFERRED, loss=CE), 'DeferredReweighting'),
        (dict(type='ltmm.PerExpertLoss', loss=dict(REWEIGHTED, loss=CE)), 'ReweightedLoss'),
        (dict(type='ltmm.ClassBalancedLoss', loss_type='softmax', beta=0.9), 'ClassBalancedLoss'),
    ],
)
def test_two_weights_are_refused(wrapper, inner, who):
    with pytest.raises(ValueError, match=f'{who} re-weights the classes already, and both weights would multiply'):
        MODELS.build(dict(wrapper, loss=inner))


def test_other_objectives_are_refused():
    with pytest.raises(TypeError, match='accepts ExpertLoss, but got DiscCentroidsLoss'):
        ReweightedLoss(loss=dict(type='ltmm.DiscCentroidsLoss'), kind='inverse')
    with pytest.raises(TypeError, match='AREAReweighting needs a loss with a `weight` per sample, but got SADELoss'):
        MODELS.build(dict(type='ltmm.AREAReweighting', start_epoch=1, loss=SADE))
    with pytest.raises(TypeError, match='takes no `class_weight`'):
        ReweightedLoss(loss=SADE, kind='inverse', class_weight='auto')
