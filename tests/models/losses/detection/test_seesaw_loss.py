import math

import pytest
import torch
from mmdet.models.losses import SeesawLoss as MMDetSeesawLoss
from torch._subclasses.fake_tensor import FakeTensorMode

from ltmm.models.losses.detection.seesaw_loss import SeesawLoss, seesaw_loss

C = 6


def build(**options):
    loss = SeesawLoss(**options)
    loss.get_cls_channels(C)
    return loss


def random_batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    score = 3 * torch.randn(16, C + 2, generator=generator, dtype=torch.float64)
    return score, torch.randint(C + 1, (16,), generator=generator)


def naive(score, label, counts, p, q, eps):
    """The formula, one entry at a time."""
    rows = []
    for z, y in zip(score, label):
        s, n = z.detach().softmax(0), counts.clamp(min=1)
        total = 0
        for k in range(len(z)):
            mitigation = min(n[k] / n[y], 1) ** p
            compensation = max(s[k] / max(s[y], eps), 1) ** q
            total = total + (z[k] - z[y]).exp() * (mitigation * compensation if k != y else 1)
        rows.append(total.log())
    return torch.stack(rows)


@pytest.mark.parametrize('p, q', [(0.8, 2.0), (0, 2.0), (0.8, 0), (0.5, 0.7)])
def test_formula_and_gradient(p, q):
    score, label = random_batch()
    score, label = score[:, :C].clone().requires_grad_(), label.clamp(max=C - 1)
    counts = torch.tensor([900.0, 50, 3, 0, 1, 70])
    losses = [f(score, label, counts, p, q, 0.01) for f in (seesaw_loss, naive)]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss.sum(), score)[0] for loss in losses))


def test_mmdets_loss_over_iterations():
    ours, theirs = build(loss_weight=2.0), MMDetSeesawLoss(num_classes=C, loss_weight=2.0).double()
    weight = torch.tensor([1.0, 0.0, 2.0, 1.0] * 4)
    for step in range(4):
        score, label = random_batch(seed=step)
        results = []
        for loss in (ours, theirs):
            terms = loss(score.requires_grad_(), label, weight, avg_factor=12.0)
            results.append((terms, torch.autograd.grad(sum(terms.values()), score)))
        torch.testing.assert_close(*results)
        torch.testing.assert_close(ours.counts.counts, theirs.cum_samples)
    assert ours.get_cls_channels(C) == theirs.get_cls_channels(C) == C + 2
    torch.testing.assert_close(ours.get_activation(score), theirs.get_activation(score))
    for name, value in ours.get_accuracy(score, label).items():
        torch.testing.assert_close(value, theirs.get_accuracy(score, label)[name].squeeze(), check_dtype=False)


def test_classification_head_has_no_objectness():
    loss = SeesawLoss(num_classes=C)
    score, label = random_batch()
    score, label = score[:, :C].requires_grad_(), label.clamp(max=C - 1)
    counts = torch.bincount(label, minlength=C).double()
    torch.testing.assert_close(loss(score, label), naive(score, label, counts, 0.8, 2.0, 0.01).mean())
    assert loss.counts.counts.tolist() == counts.tolist()
    loss.eval()(score, label)
    assert loss.counts.counts.tolist() == counts.tolist()
    with FakeTensorMode(allow_non_fake_inputs=True):  # nothing waits for the device
        loss(torch.rand(5, C, requires_grad=True), torch.zeros(5, dtype=torch.long), avg_factor=5).backward()


def test_without_objects():
    score = torch.zeros(4, C + 2, requires_grad=True)
    terms = build()(score, torch.full((4,), C), torch.ones(4), avg_factor=4)
    sum(terms.values()).backward()
    assert terms['loss_cls_classes'] == 0 and not score.grad[:, :C].any()
    assert terms['loss_cls_objectness'].item() == pytest.approx(math.log(2))


def test_nan_is_not_hidden():
    score, label = random_batch()
    label[0] = 1
    score[0, 0] = torch.nan
    assert build()(score, label)['loss_cls_classes'].isnan()


def test_other_number_of_classes_than_the_head():
    with pytest.raises(ValueError, match='num_classes=7, but its head has 6'):
        build(num_classes=7)
