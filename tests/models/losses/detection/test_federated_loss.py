import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.detection.federated_loss import FederatedLoss, draw_federated_classes, federated_loss

C = 6
COUNTS = [400, 100, 25, 9, 4, 0]


def build(num=4, dense=False, counts=COUNTS, **options):
    loss = FederatedLoss(num_sampled_classes=num, class_counts=counts, **options)
    (loss.get_dense_channels if dense else loss.get_cls_channels)(len(counts))
    return loss


def batch(columns=C + 1, num=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    score = 2 * torch.randn(num, columns, generator=generator, dtype=torch.float64)
    return score.requires_grad_(), torch.randint(C + 1, (num,), generator=generator)


def log_weight(counts=COUNTS, power=0.5):
    return torch.tensor(counts, dtype=torch.float64).pow(power).log()


@pytest.mark.parametrize('gamma, alpha', [(0.0, None), (2.0, 0.25), (1.5, None)])
def test_formula(gamma, alpha):
    score, label = batch(C)
    is_drawn = torch.tensor([True, False, True, True, False, False])
    target = F.one_hot(label, C + 1)[:, :C].double()
    expected = F.binary_cross_entropy_with_logits(score, target, reduction='none')
    p_t = torch.where(target == 1, score.sigmoid(), 1 - score.sigmoid())
    expected = (1 - p_t) ** gamma * expected * (1 if alpha is None else torch.where(target == 1, alpha, 1 - alpha))
    expected = expected[:, is_drawn].sum(1)
    loss = federated_loss(score, label, is_drawn, gamma, alpha)
    torch.testing.assert_close(loss, expected)
    grads = [torch.autograd.grad(value.sum(), score, retain_graph=True)[0] for value in (loss, expected)]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize('label, num, size', [([6, 0, 0], 4, 4), ([0, 1, 2, 3, 6], 3, 5), ([], 2, 2), ([2, 6], 50, 6)])
def test_set_holds_the_labels_and_is_filled_up(label, num, size):
    for seed in range(20):
        torch.manual_seed(seed)
        drawn = draw_federated_classes(torch.tensor(label, dtype=torch.long), log_weight(), num)
        assert drawn[label].all() and drawn.sum() == size
        assert not drawn[5] and drawn[6] == (6 in label)  # no training image; background


@pytest.mark.parametrize('power', [0.0, 0.5, 1.0])
def test_frequencies_of_the_draws(power):
    torch.manual_seed(0)
    loss = build(power=power)
    label = torch.tensor([0])
    drawn = sum(draw_federated_classes(label, loss.log_weight, 3).double() for _ in range(4000)) / 4000
    weight = torch.tensor([100.0, 25.0, 9.0, 4.0]).double() ** power  # of classes 1 to 4
    p = weight / weight.sum()
    pairs = p.unsqueeze(1) * p / (1 - p.unsqueeze(1))  # first, second
    expected = p + pairs.fill_diagonal_(0).sum(0)
    torch.testing.assert_close(drawn[1:5], expected, rtol=0, atol=0.03)
    assert drawn[0] == 1 and drawn[5] == drawn[6] == 0


@pytest.mark.parametrize('dense', [False, True])
def test_gradients_of_classes_outside_the_set_are_zero(dense):
    loss = build(dense=dense)
    score, label = batch(C + (not dense))
    label = label.clamp(min=1, max=2)
    torch.manual_seed(0)
    loss(score, label).backward()
    torch.manual_seed(0)
    drawn = loss.draw(label)
    assert drawn.sum() == 4
    assert ((score.grad != 0).any(0)[:C] == drawn[:C]).all() and (score.grad[:, C:] == 0).all()


def test_all_classes_drawn_is_the_cross_entropy():
    with pytest.warns(UserWarning, match='draws all of 5 classes'):
        loss = build(50, counts=COUNTS[:5])
    score, label = batch(6)
    target = F.one_hot(label, C + 1)[:, :5].double()
    label = label.clamp(max=5)
    expected = F.binary_cross_entropy_with_logits(score[:, :5], target, reduction='sum') / 3
    torch.testing.assert_close(loss(score, label, avg_factor=3), expected)


def test_power_zero_draws_no_class_without_images():
    assert build(power=0.0).log_weight.tolist() == [0.0] * 5 + [-torch.inf]


def test_scores_are_sigmoids():
    score, _ = batch()
    torch.testing.assert_close(build().get_activation(score), score.sigmoid())


def test_accuracy_leaves_the_unused_column_out():
    score = torch.tensor([[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 9.0]])
    assert build().get_accuracy(score, torch.tensor([1]))['acc_classes'] == 100


def test_draws_follow_the_seed():
    loss, label, drawn = build(3), torch.tensor([0]), []
    for seed in (1, 1, *range(2, 10)):
        torch.manual_seed(seed)
        drawn.append(loss.draw(label).tolist())
    assert drawn[0] == drawn[1] and any(other != drawn[0] for other in drawn[2:])


def test_needs_the_class_distribution():
    with pytest.raises(RuntimeError, match='FederatedLoss needs .*ClassDistributionHook'):
        FederatedLoss()(*batch())


def test_counts_of_other_classes_than_the_logits():
    with pytest.raises(ValueError, match='expected logits of 6 classes'):
        FederatedLoss(num_sampled_classes=4, class_counts=COUNTS)(*batch(C))
