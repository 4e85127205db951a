import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from toy_losses import prepare

from ltmm.class_distribution import ClassDistributionError
from ltmm.models.losses.detection.bags_loss import BalancedGroupSoftmaxLoss, sample_others
from ltmm.registry import MODELS

C, COUNTS = 6, [900, 50, 3, 0, 10, 99]  # groups of the bounds 10 and 100: {2, 3}, {1, 4, 5}, {0}
GROUPS = [[2, 3], [1, 4, 5], [0]]


def build(counts=COUNTS, **options):
    loss = BalancedGroupSoftmaxLoss(**{'group_bounds': (10, 100), 'beta': 1e6, **options})
    loss.get_cls_channels(C)
    return prepare(loss, counts)


def random_batch(num=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    score = 3 * torch.randn(num, C + 5, generator=generator, dtype=torch.float64)
    return score, torch.randint(C + 1, (num,), generator=generator)


def naive(score, label, weight):
    """The losses of the groups, one proposal at a time, without sampling."""
    losses = []
    for g, members in enumerate(GROUPS):
        columns, is_object = [C + g, *members], torch.isin(label, torch.tensor(members))
        total = 0
        for z, y, w in zip(score, label.tolist(), weight):
            total = total - w * z[columns].log_softmax(0)[members.index(y) + 1 if y in members else 0]
        losses.append(total / weight.sum() if is_object.any() else 0 * total)
    return [*losses, (F.cross_entropy(score[:, -2:], (label == C).long(), reduction='none') @ weight) / weight.sum()]


@pytest.mark.parametrize('weights', [[1.0, 1.0], [1.0, 0.5]])
def test_formula_and_gradient(weights):
    score, label = random_batch()
    weight = torch.tensor(weights * 8, dtype=torch.float64)
    results = []
    for terms in (build(loss_weight=2.0)(score.requires_grad_(), label, weight).values(), naive(score, label, weight)):
        results.append((torch.stack([*terms]).detach(), *torch.autograd.grad(sum(terms), score)))
    (ours, grad), (expected, expected_grad) = results
    torch.testing.assert_close((ours, grad), (2 * expected, 2 * expected_grad))


def test_rows_of_weight_0_are_left_out():
    (score, label), loss = random_batch(), build()
    weight = torch.tensor([1.0, 0.0] * 8)
    torch.testing.assert_close(loss(score, label, weight), loss(score[::2], label[::2]))


def test_scores():
    score, _ = random_batch()
    scores, loss = torch.zeros(len(score), C + 1, dtype=torch.float64), build()
    objectness = score[:, -2:].softmax(1)
    for g, members in enumerate(GROUPS):
        scores[:, members] = score[:, [C + g, *members]].softmax(1)[:, 1:] * objectness[:, :1]
    scores[:, C] = objectness[:, 1]
    torch.testing.assert_close(loss.get_activation(score), scores)


def test_others_are_sampled():
    target = torch.tensor([[1, 0, 2], *([0, 0, 0],) * 9])  # one object of the groups 0 and 2, none of 1
    weight = torch.tensor([1.0] * 9 + [0.0])
    drawn = [sample_others(target, weight, 2.5) for _ in range(200)]
    for selected in drawn:
        assert selected.sum(0).tolist() == [3, 0, 3] and selected[0].tolist() == [True, False, True]
    share = torch.stack(drawn).double().mean(0)[1:, 0]
    assert share[-1] == 0 and (share[:-1] - 0.25).abs().max() < 0.12  # 2 of 8, each as often


def test_batch_without_objects_trains_objectness_only():
    score = torch.zeros(4, C + 5, requires_grad=True)
    terms = build()(score, torch.full((4,), C))
    sum(terms.values()).backward()
    assert terms['loss_cls_objectness'].item() == pytest.approx(np.log(2)) and not score.grad[:, :-2].any()
    assert [*terms] == ['loss_cls_group0', 'loss_cls_group1', 'loss_cls_group2', 'loss_cls_objectness']


def test_group_without_a_class_is_named_and_has_no_effect():
    counts = [900, 5, 3, 0, 1, 9]
    with pytest.warns(UserWarning, match=r'no class has 10 to 99 training instances.* per group: \[5, 0, 1\]'):
        loss = build(counts)
    score, label = random_batch()
    terms = loss(score.requires_grad_(), label)
    sum(terms.values()).backward()
    assert terms['loss_cls_group1'] == 0 and not score.grad[:, C + 1].any()


def test_bounds_are_of_instances():
    loss = build([10, 9, 100, 99, 101, 0])
    assert loss.group_target[:C, :3].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 2, 0], [0, 0, 2], [2, 0, 0]]


def test_checkpoint_carries_the_groups():
    trained, (score, _) = build(), random_batch()
    fresh = BalancedGroupSoftmaxLoss(group_bounds=(10, 100))
    fresh.get_cls_channels(C)
    with pytest.raises(RuntimeError, match='BalancedGroupSoftmaxLoss needs'):
        fresh.get_activation(score)
    fresh.load_state_dict(trained.state_dict())
    torch.testing.assert_close(fresh.get_activation(score), trained.get_activation(score), rtol=0, atol=0)


def test_nothing_waits_for_the_device():
    loss = build(beta=2.0)
    with FakeTensorMode(allow_non_fake_inputs=True):
        terms = loss(torch.rand(5, C + 5, requires_grad=True), torch.zeros(5, dtype=torch.long), torch.ones(5))
        sum(terms.values()).backward()


def test_bad_input():
    with pytest.raises(ValueError, match=r'`group_bounds` to be an ascending list, but got \[10, 10\]'):
        build(group_bounds=[10, 10])
    with pytest.raises(ValueError, match=r'`group_bounds` to be a list of int >= 1, but got 10\.'):
        build(group_bounds=10)
    with pytest.raises(ValueError, match='`reduction_override`'):
        build()(*random_batch(), reduction_override='none')
    with pytest.raises(ClassDistributionError, match='6 entries, but got 7. Leave the background class out'):
        build([*COUNTS, 1000])
    with pytest.raises(TypeError, match='BalancedGroupSoftmaxLoss takes no `class_weight`'):
        MODELS.build(dict(type='ltmm.BalancedGroupSoftmaxLoss', class_weight='auto'))
