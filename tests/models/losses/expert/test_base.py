import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from toy_losses import expert_terms, prepare

from ltmm.class_distribution import ClassDistributionError
from ltmm.models.losses.expert.base import ExpertLoss, expert_cross_entropy, kl_divergence
from ltmm.registry import MODELS

COUNTS = [100, 30, 5, 1]
LOSSES = dict(
    ride=dict(type='ltmm.RIDELoss', diversity_factor=-0.45, reweight_factor=0.05, reweight_epoch=1),
    ride_distill=dict(type='ltmm.RIDEDistillLoss', diversity_factor=-0.45, reweight_factor=0.05, reweight_epoch=1),
    lgla=dict(type='ltmm.LGLALoss'),
    sade=dict(type='ltmm.SADELoss'),
    balpoe=dict(type='ltmm.BalPoELoss'),
    mdcs=dict(type='ltmm.MDCSLoss'),
    shike=dict(type='ltmm.SHIKELoss'),
    per_expert=dict(type='ltmm.PerExpertLoss', loss=dict(type='mmpretrain.CrossEntropyLoss')),
    ncl=dict(type='ltmm.NCLLoss', num_hard=3),
    ncl_plus=dict(type='ltmm.NCLPlusLoss', num_hard=2, num_views=2),
    tlc=dict(type='ltmm.TLCLoss', reweight_factor=0.05, reweight_epoch=1, kl_epochs=10),
)
OF_ANY_PRIOR = ('shike', 'per_expert')
each_loss = pytest.mark.parametrize('name', LOSSES)
each_with_prior = pytest.mark.parametrize('name', [name for name in LOSSES if name not in OF_ANY_PRIOR])


def build(name: str, class_counts=COUNTS, **options) -> ExpertLoss:
    return MODELS.build(LOSSES[name] | dict(class_counts=class_counts, **options))


def value(loss: ExpertLoss, scale: float = 1.0, epoch: int = 5, dtype=torch.float32, num_images: int = 6):
    """Terms, their sum and the gradient for random logits."""
    generator = torch.Generator().manual_seed(0)
    label = torch.tensor([0, 1, 1, 2, 0, 2])[:num_images]
    rows = loss.num_views * len(label)
    logits = (scale * torch.randn(3, rows, 4, generator=generator)).to(dtype).requires_grad_()
    if hasattr(loss, 'set_progress'):
        loss.set_progress(epoch, 10)
    terms = expert_terms(loss, logits, label, teacher_logits=scale * torch.randn(num_images, 4))
    total = sum(terms.values())
    total.backward()
    return terms, total, logits.grad


@each_loss
def test_empty_batch(name):
    """A rank without images takes part with terms of 0 that keep the network in the graph."""
    terms, _, grad = value(build(name), num_images=0)
    assert terms and not any(terms.values()) and grad is not None


@pytest.mark.parametrize('soft', [False, True])
def test_cross_entropy_of_each_expert(soft):
    logits, label = torch.randn(2, 5, 4), torch.tensor([0, 3, 2, 1, 0])
    if soft:
        label = torch.rand(5, 4).softmax(1)
    expected = torch.stack([F.cross_entropy(expert, label) for expert in logits])
    torch.testing.assert_close(expert_cross_entropy(logits, label), expected)


def test_weighted_cross_entropy():
    logits, label, weight = torch.randn(2, 5, 4), torch.tensor([0, 3, 2, 1, 0]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    expected = torch.stack([F.cross_entropy(expert, label, weight) for expert in logits])
    torch.testing.assert_close(expert_cross_entropy(logits, label, weight), expected)


def test_class_factor_of_cross_entropy():
    logits, label, weight = torch.randn(2, 5, 4), torch.rand(5, 4).softmax(1), torch.tensor([1.0, 2.0, 0.0, 4.0])
    expected = -(label * weight * logits.log_softmax(-1)).sum(-1).mean(1)
    torch.testing.assert_close(expert_cross_entropy(logits, label, class_factor=weight), expected)


@each_loss
def test_class_weight_multiplies_all_terms_of_an_image(name):
    apart = dict(ride=dict(reweight_epoch=None), tlc=dict(threshold=0.0))  # what does not depend on the batch
    never = apart.get(name.split('_')[0], {})
    plain, loss = build(name, **never), build(name, class_weight=[2.0, 0.0, 0.5, 1.0], **never)
    label, weight = torch.tensor([0, 1, 1, 2, 0, 3]), torch.tensor([2, 0, 0, 0.5, 2, 1])
    for each in (plain, loss):
        each.set_progress(5, 10) if hasattr(each, 'set_progress') else None
    torch.manual_seed(0)
    logits = torch.randn(3, loss.num_views, 6, 4) + 20 * F.one_hot(label, 4)  # all are right, as MDCS asks
    teacher = torch.randn(6, 4)

    def terms(loss, rows):
        part = logits[:, :, rows].flatten(1, 2)
        return torch.stack([*expert_terms(loss, part, label[rows], teacher_logits=teacher[rows]).values()])

    expected = torch.stack([weight[i] * terms(plain, [i]) for i in range(6)]).mean(0)
    torch.testing.assert_close(terms(loss, [*range(6)]), expected)
    assert loss.balances_classes


def test_kl_divergence():
    target, logits = torch.randn(2, 5, 4)
    expected = F.kl_div(logits.log_softmax(1), target.softmax(1), reduction='none').sum(1)
    torch.testing.assert_close(kl_divergence(target, logits), expected)


@each_loss
def test_terms_are_named_as_losses(name):
    terms, total, _ = value(build(name))
    assert all('loss' in term and term_value.shape == () for term, term_value in terms.items())
    assert total.isfinite()


@each_loss
@pytest.mark.parametrize('scale', [1.0, 1e4])
def test_absent_class_and_large_logits(name, scale):
    _, total, grad = value(build(name, class_counts=[100, 30, 5, 0]), scale)
    assert total.isfinite() and grad.isfinite().all()


@each_loss
def test_half_precision(name):
    loss = build(name)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        _, total, grad = value(loss, dtype=torch.bfloat16)
    assert total.dtype == torch.float32 and grad.isfinite().all()
    torch.testing.assert_close(total, value(loss)[1], rtol=0.05, atol=0.05)


@each_loss
def test_no_synchronization(name):
    """Fake tensors hold no numbers: .item(), bool() or a shape that depends on numbers raises."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert value(build(name))[2].shape[0] == 3


@each_loss
def test_checkpoint_carries_the_prior(name):
    loss, empty = build(name), build(name, class_counts=None)
    empty.load_state_dict(loss.state_dict())
    torch.manual_seed(0)
    expected = value(loss)[1]
    torch.manual_seed(0)
    torch.testing.assert_close(value(empty)[1], expected)


@each_with_prior
def test_needs_the_class_distribution(name):
    with pytest.raises(RuntimeError, match='needs the class distribution.*ClassDistributionHook'):
        value(build(name, class_counts=None))


@pytest.mark.parametrize('name', OF_ANY_PRIOR)
def test_needs_no_class_distribution(name):
    torch.testing.assert_close(value(build(name, class_counts=None))[1:], value(build(name))[1:], rtol=0, atol=0)


def terms_of(name: str, shape: tuple, label: Tensor | None = None) -> dict[str, Tensor]:
    """Terms without a call of set_progress."""
    label = torch.tensor([0, 1]) if label is None else label
    return expert_terms(build(name), torch.zeros(shape), label, teacher_logits=torch.zeros(2, 4))


@pytest.mark.parametrize('name, num_views', [('ride', 1), ('ride_distill', 1), ('mdcs', 2), ('tlc', 1)])
def test_needs_the_epoch(name, num_views):
    with pytest.raises(RuntimeError, match='depends on .*ltmm.ProgressHook'):
        terms_of(name, (3, 2 * num_views, 4))


@pytest.mark.parametrize(
    'name, shape, label, message',
    [
        *((name, (3, 2, 5), None, 'logits of 4 classes') for name in LOSSES if name not in OF_ANY_PRIOR),
        *((name, (2, 4), None, r'logits \((E|3), N, C\)') for name in LOSSES),
        ('ride', (3, 2, 4), torch.zeros(2, 4), 'soft labels'),
        ('tlc', (3, 2, 4), torch.zeros(2, 4), 'soft labels'),
        ('mdcs', (3, 4, 4), torch.zeros(2, 4), 'soft labels'),
        ('shike', (3, 2, 4), torch.zeros(2, 4), 'soft labels'),
        ('sade', (2, 2, 4), None, r'logits \(3, N, C\), but got \(2, 2, 4\)'),
        ('balpoe', (2, 2, 4), None, r'logits \(3, N, C\)'),
        ('mdcs', (2, 4, 4), None, r'logits \(3, N, C\)'),
        ('mdcs', (3, 2, 4), None, "2 view.*4 rows.*got 2.*'MultiView'"),
        ('sade', (3, 4, 4), None, '1 view.*2 rows.*got 4'),
    ],
)
def test_bad_inputs(name, shape, label, message):
    with pytest.raises(ValueError, match=message):
        terms_of(name, shape, label)


def test_counts_of_other_classes():
    with pytest.raises(ClassDistributionError, match='SADELoss: expected `class_counts` to have 5 entries, but got 4'):
        build('sade', num_classes=5)


def test_class_weight_of_other_classes():
    with pytest.raises(ClassDistributionError, match='SADELoss: expected `class_weight` to have 4 entries'):
        prepare(build('sade', class_counts=None, class_weight=[1.0] * 5), COUNTS)


def test_batch_without_weight_is_zero():
    logits = torch.randn(2, 5, 3, requires_grad=True)
    losses = expert_cross_entropy(logits, torch.full((5,), 2), torch.tensor([1.0, 2.0, 0.0]))
    losses.sum().backward()
    assert losses.tolist() == [0, 0] and not logits.grad.any()
