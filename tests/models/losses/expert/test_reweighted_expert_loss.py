import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from toy_losses import expert_terms, prepare

from ltmm.models.losses import DeferredExpertReweighting, LossInputs, ReweightedExpertLoss
from ltmm.models.losses.expert import ExpertLoss
from ltmm.models.state import progress
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
    lgla=dict(type='ltmm.LGLALoss'),
    ncl=dict(type='ltmm.NCLLoss', num_hard=3),
    ncl_plus=dict(type='ltmm.NCLPlusLoss', num_hard=2, num_views=2),
    tlc=dict(type='ltmm.TLCLoss', reweight_factor=0.05, reweight_epoch=None, kl_epochs=10, threshold=0.0),
    sade=SADE,
    balpoe=dict(type='ltmm.BalPoELoss'),
    mdcs=dict(type='ltmm.MDCSLoss'),
    shike=dict(type='ltmm.SHIKELoss'),
    per_expert=PER_EXPERT,
)
REWEIGHTED = dict(type='ltmm.ReweightedLoss', kind='inverse')
DEFERRED = dict(type='ltmm.DeferredReweighting', kind='inverse', start_epoch=1)
each_loss = pytest.mark.parametrize('name', LOSSES)
each_of_images = pytest.mark.parametrize('name', [name for name in LOSSES if name != 'lgla'])  # which compares images


def build(cfg: dict, epoch: int = 1, counts: list[int] = COUNTS) -> ExpertLoss:
    return prepare(MODELS.build(cfg), counts, epoch=epoch)


def inputs(loss: ExpertLoss) -> LossInputs:
    """Of several views, all experts are right in the first, as MDCS asks."""
    generator, num_views = torch.Generator().manual_seed(0), loss.num_views
    logits = torch.randn(3, num_views, len(LABEL), 4, generator=generator) + 20 * (num_views - 1) * F.one_hot(LABEL, 4)
    teacher = torch.randn(len(LABEL), 4, generator=generator)
    logits = logits.flatten(1, 2)
    return LossInputs(LABEL, logits.mean(0), expert_logits=logits, teacher_logits=teacher)


def single(loss: ExpertLoss, i: int) -> dict[str, torch.Tensor]:
    """Terms of one image alone."""
    batch, rows = inputs(loss), range(i, loss.num_views * len(LABEL), len(LABEL))
    logits, teacher = batch.expert_logits[:, rows], batch.teacher_logits[[i]]
    return loss(LossInputs(LABEL[[i]], logits.mean(0), expert_logits=logits, teacher_logits=teacher))


@each_of_images
@pytest.mark.parametrize('normalize', ['weight_sum', 'batch_size'])
def test_weights_multiply_all_terms_of_an_image(name, normalize):
    plain = build(LOSSES[name])
    loss = build(dict(REWEIGHTED, loss=LOSSES[name], normalize=normalize))
    got, weight = loss(inputs(loss)), WEIGHT[LABEL]
    total = weight.sum() if normalize == 'weight_sum' else len(LABEL)
    for term, value in got.items():
        expected = sum(weight[i] * single(plain, i)[term] for i in range(len(LABEL))) / total
        torch.testing.assert_close(value, expected)
    assert loss.balances_classes and isinstance(loss, ExpertLoss)


@each_loss
def test_plain_loss_then_reweighted_loss(name):
    cfg = dict(loss=LOSSES[name], kind='effective_number', beta=0.9)
    plain, reweighted = build(LOSSES[name]), build(dict(REWEIGHTED, **cfg))
    loss = build(dict(DEFERRED, **cfg) | dict(start_epoch=2))
    for epoch in range(4):
        prepare(loss, COUNTS, epoch), prepare(plain, COUNTS, epoch), prepare(reweighted, COUNTS, epoch)
        expected = plain if epoch < 2 else reweighted
        torch.testing.assert_close(loss(inputs(loss)), expected(inputs(loss)), rtol=0, atol=0)
    assert loss(inputs(loss)) != plain(inputs(loss))


def test_ldam_drw_inside_and_outside_of_each_expert():
    drw = dict(start_epoch=1, kind='effective_number', beta=0.99)
    drw['type'] = 'ltmm.DeferredReweighting'
    outside = build(dict(drw, loss=PER_EXPERT))
    inside = build(dict(type='ltmm.PerExpertLoss', loss=dict(drw, loss=LDAM)))
    for epoch in (0, 1):
        prepare(outside, COUNTS, epoch), prepare(inside, COUNTS, epoch)
        torch.testing.assert_close(outside(inputs(outside)), inside(inputs(inside)))


def test_soft_labels_weight_each_class():
    loss = build(dict(REWEIGHTED, loss=SADE))
    soft, logits = torch.rand(6, 4).softmax(1), torch.randn(3, 6, 4)
    expected = -(soft * WEIGHT * logits[0].log_softmax(1)).sum() / (soft @ WEIGHT).sum()
    torch.testing.assert_close(expert_terms(loss, logits, soft)['loss_forward'], expected)


def test_class_without_images():
    loss = build(dict(REWEIGHTED, loss=SADE), counts=[100, 30, 0, 1])
    logits = torch.randn(3, 2, 4, requires_grad=True)
    for label in ([2, 2], [2, 0]):
        value = sum(expert_terms(loss, logits, torch.tensor(label)).values())
        (grad,) = torch.autograd.grad(value, logits)
        assert value.isfinite() and grad.isfinite().all() and not grad[:, 0].any()
    assert sum(expert_terms(loss, logits, torch.tensor([2, 2])).values()) == 0


@pytest.mark.parametrize('duplicate', [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_copy_has_weights_of_its_own(duplicate):
    loss = build(dict(REWEIGHTED, loss=SADE))
    before, twin = loss(inputs(loss)), prepare(duplicate(loss), [1, 1, 1, 100])
    torch.testing.assert_close(loss(inputs(loss)), before, rtol=0, atol=0)
    assert twin(inputs(twin)) != loss(inputs(loss))


def test_checkpoint_carries_the_weights():
    cfg = dict(DEFERRED, loss=SADE, start_epoch=0)
    loss, fresh = build(cfg), MODELS.build(cfg)
    fresh.load_state_dict(loss.state_dict())
    fresh.set_progress(0, 1)
    torch.testing.assert_close(fresh(inputs(loss)), loss(inputs(loss)), rtol=0, atol=0)


@pytest.mark.parametrize('wrapper', [REWEIGHTED, DEFERRED])
@pytest.mark.parametrize(
    'inner, who',
    [
        (dict(RIDE, reweight_epoch=160), 'RIDELoss'),
        (dict(SADE, class_weight='auto'), 'SADELoss'),
        (dict(REWEIGHTED, loss=SADE), 'ReweightedExpertLoss'),
        (dict(type='ltmm.PerExpertLoss', loss=dict(REWEIGHTED, loss=CE)), 'ReweightedLoss'),
    ],
)
def test_two_weights_are_refused(wrapper, inner, who):
    with pytest.raises(ValueError, match=f'{who} re-weights the classes already: a second weight would'):
        MODELS.build(dict(wrapper, loss=inner))


@pytest.mark.parametrize('inner', ['ltmm.DiscCentroidsLoss', 'ltmm.ExpertRoutingLoss', 'ltmm.LDAMLoss'])
def test_other_losses_are_refused(inner):
    with pytest.raises(TypeError, match=f'accepts ExpertLoss, but got {inner[5:]}. ltmm.PerExpertLoss'):
        ReweightedExpertLoss(loss=dict(type=inner), kind='inverse')


def test_only_the_losses_themselves_become_those_of_experts():
    assert type(MODELS.build(dict(REWEIGHTED, loss=SADE))) is ReweightedExpertLoss
    assert type(MODELS.build(dict(DEFERRED, loss=SADE))) is DeferredExpertReweighting
    with pytest.raises(TypeError, match='AREAReweighting needs a loss with a `weight` per sample, but got SADELoss'):
        MODELS.build(dict(type='ltmm.AREAReweighting', loss=SADE, start_epoch=1))


def test_class_weight():
    with pytest.raises(TypeError, match='takes no `class_weight`'):
        MODELS.build(dict(DEFERRED, loss=SADE, class_weight='auto'))


def test_warns_of_weights_that_never_start():
    loss, messages = MODELS.build(dict(DEFERRED, loss=SADE)), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progress, 'print_log', lambda text, **_: messages.append(text))
        loss.set_progress(0, 1), loss.set_progress(0, 1)
    assert messages == ['DeferredExpertReweighting never re-weights: start_epoch=1, but the training has 1 epochs.']
