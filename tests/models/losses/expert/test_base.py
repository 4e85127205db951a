import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from toy_losses import expert_terms

from ltmm.class_distribution import ClassDistributionError
from ltmm.models.losses.expert.base import ExpertLoss, expert_cross_entropy, kl_divergence
from ltmm.registry import MODELS

COUNTS = [100, 30, 5, 1]
LOSSES = dict(
    ride=dict(type='ltmm.RIDELoss', diversity_factor=-0.45, reweight_factor=0.05, reweight_epoch=1),
    ride_distill=dict(type='ltmm.RIDEDistillLoss', diversity_factor=-0.45, reweight_factor=0.05, reweight_epoch=1),
    sade=dict(type='ltmm.SADELoss'),
    balpoe=dict(type='ltmm.BalPoELoss'),
    mdcs=dict(type='ltmm.MDCSLoss'),
)
each_loss = pytest.mark.parametrize('name', LOSSES)


def build(name: str, class_counts=COUNTS, **options) -> ExpertLoss:
    return MODELS.build(LOSSES[name] | dict(class_counts=class_counts, **options))


def value(loss: ExpertLoss, scale: float = 1.0, epoch: int = 5, dtype=torch.float32):
    """Terms, their sum and the gradient for random logits of six images."""
    generator = torch.Generator().manual_seed(0)
    label = torch.tensor([0, 1, 1, 2, 0, 2])
    rows = loss.num_views * len(label)
    logits = (scale * torch.randn(3, rows, 4, generator=generator)).to(dtype).requires_grad_()
    if hasattr(loss, 'set_progress'):
        loss.set_progress(epoch, 10)
    teacher = dict(teacher_logits=scale * torch.randn(6, 4)) if 'teacher_logits' in loss.requires else {}
    terms = expert_terms(loss, logits, label, **teacher)
    total = sum(terms.values())
    total.backward()
    return terms, total, logits.grad


@pytest.mark.parametrize('soft', [False, True])
def test_cross_entropy_of_each_expert(soft):
    logits, label = torch.randn(2, 5, 4), torch.tensor([0, 3, 2, 1, 0])
    if soft:
        label = torch.rand(5, 4).softmax(1)
    expected = torch.stack([F.cross_entropy(expert, label) for expert in logits])
    torch.testing.assert_close(expert_cross_entropy(logits, label), expected)


def test_weighted_cross_entropy_divides_by_the_sum_of_the_weights():
    logits, label, weight = torch.randn(2, 5, 4), torch.tensor([0, 3, 2, 1, 0]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    expected = torch.stack([F.cross_entropy(expert, label, weight) for expert in logits])
    torch.testing.assert_close(expert_cross_entropy(logits, label, weight), expected)


def test_kl_divergence():
    target, logits = torch.randn(2, 5, 4)
    expected = F.kl_div(logits.log_softmax(1), target.softmax(1), reduction='none').sum(1)
    torch.testing.assert_close(kl_divergence(target, logits), expected)


@each_loss
def test_every_term_is_named_as_a_loss_and_is_a_number(name):
    terms, total, _ = value(build(name))
    assert all('loss' in term and term_value.shape == () for term, term_value in terms.items())
    assert total.isfinite()


@each_loss
@pytest.mark.parametrize('scale', [1.0, 1e4])
def test_an_absent_class_and_large_logits_stay_finite(name, scale):
    _, total, grad = value(build(name, class_counts=[100, 30, 5, 0]), scale)
    assert total.isfinite() and grad.isfinite().all()


@each_loss
def test_half_precision_is_computed_in_float32(name):
    loss = build(name)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        _, total, grad = value(loss, dtype=torch.bfloat16)
    assert total.dtype == torch.float32 and grad.isfinite().all()
    torch.testing.assert_close(total, value(loss)[1], rtol=0.05, atol=0.05)


@each_loss
def test_nothing_waits_for_the_device(name):
    """Fake tensors hold no numbers: .item(), bool() or a shape that depends on numbers raises."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert value(build(name))[2].shape[0] == 3


@each_loss
def test_a_checkpoint_carries_the_prior(name):
    loss, empty = build(name), build(name, class_counts=None)
    empty.load_state_dict(loss.state_dict())
    torch.manual_seed(0)
    expected = value(loss)[1]
    torch.manual_seed(0)
    torch.testing.assert_close(value(empty)[1], expected)


@each_loss
def test_asks_for_the_class_distribution(name):
    with pytest.raises(RuntimeError, match='needs the class distribution.*ClassDistributionHook'):
        value(build(name, class_counts=None))


@pytest.mark.parametrize('name', ['ride', 'ride_distill', 'mdcs'])
def test_asks_for_the_epoch(name):
    loss = build(name)
    logits, teacher = torch.zeros(3, 2 * loss.num_views, 4), {}
    if name == 'ride_distill':
        teacher = dict(teacher_logits=torch.zeros(2, 4))
    with pytest.raises(RuntimeError, match='depends on .*ltmm.ProgressHook'):
        expert_terms(loss, logits, torch.tensor([0, 1]), **teacher)


@pytest.mark.parametrize('name', ['ride', 'mdcs'])
def test_refuses_soft_labels(name):
    with pytest.raises(ValueError, match=r'takes class indices \(N,\), but got soft labels \(2, 4\); leave Mixup'):
        expert_terms(build(name), torch.zeros(3, 2, 4), torch.zeros(2, 4))


@pytest.mark.parametrize('name', ['sade', 'balpoe', 'mdcs'])
def test_refuses_another_number_of_experts(name):
    loss = build(name)
    with pytest.raises(ValueError, match='expected 3 experts, but got 2'):
        expert_terms(loss, torch.zeros(2, 2 * loss.num_views, 4), torch.tensor([0, 1]))


@each_loss
def test_refuses_logits_of_other_classes_and_other_shapes(name):
    for shape in ((3, 2, 5), (2, 4)):
        with pytest.raises(ValueError, match=r'logits of shape \(E, N, 4\)'):
            expert_terms(build(name), torch.zeros(shape), torch.tensor([0, 1]))


def test_one_view_for_a_two_view_loss_is_refused():
    with pytest.raises(
        ValueError, match="MDCSLoss takes 2 views of each image: expected 4 rows.*but got 2.*'MultiView'"
    ):
        expert_terms(build('mdcs'), torch.zeros(3, 2, 4), torch.tensor([0, 1]))


def test_two_views_for_a_one_view_loss_are_refused():
    with pytest.raises(ValueError, match='SADELoss takes 1 view of each image: expected 2 rows .* but got 4'):
        expert_terms(build('sade'), torch.zeros(3, 4, 4), torch.tensor([0, 1]))


def test_counts_of_other_classes_are_refused_at_build():
    with pytest.raises(ClassDistributionError, match='SADELoss: expected `class_counts` to have 5 entries, but got 4'):
        build('sade', num_classes=5)


def test_a_subclass_without_terms_says_so():
    with pytest.raises(NotImplementedError, match='must define terms'):
        expert_terms(ExpertLoss(class_counts=COUNTS), torch.zeros(1, 1, 4), torch.tensor([0]))


def test_a_batch_without_weight_is_zero():
    logits = torch.randn(2, 5, 3, requires_grad=True)
    losses = expert_cross_entropy(logits, torch.full((5,), 2), torch.tensor([1.0, 2.0, 0.0]))
    losses.sum().backward()
    assert losses.tolist() == [0, 0] and not logits.grad.any()
