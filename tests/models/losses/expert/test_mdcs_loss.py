import math

import torch
import torch.nn.functional as F
from toy_losses import expert_terms

from ltmm.models.losses import MDCSLoss
from ltmm.models.losses.expert.mdcs_loss import confident_consistency

COUNTS = [60, 30, 10]


def mdcs(epoch=100, **options) -> MDCSLoss:
    loss = MDCSLoss(class_counts=COUNTS, **options)
    loss.set_progress(epoch, 400)
    return loss


def test_formula():
    logits, label = torch.randn(3, 10, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 0])
    terms = expert_terms(mdcs(), logits, label)
    consistency = 0.0
    for e, power in enumerate((-0.5, 1, 2.5)):
        v = logits[e] + torch.tensor([math.log(n**power) for n in COUNTS], dtype=torch.float64)
        cross_entropy = F.cross_entropy(v, label.repeat(2))
        torch.testing.assert_close(terms[f'loss_expert{e}'], cross_entropy, rtol=1e-7, atol=1e-7)
        rows = [i for i in range(5) if v[i].argmax() == label[i]]
        if rows:
            weak, strong = v[rows], v[[5 + i for i in rows]]
            consistency += F.kl_div(strong.log_softmax(1), weak.softmax(1), reduction='batchmean')
    torch.testing.assert_close(terms['loss_consistency'], 0.6 * consistency, rtol=1e-7, atol=1e-7)


def test_mean_is_over_confident_images():
    label = torch.tensor([0, 1])
    weak = torch.tensor([[[5.0, 0.0], [5.0, 0.0]]])  # right, wrong
    strong = torch.zeros(1, 2, 2)
    p = weak[0, 0].softmax(0)
    expected = (p * (p.log() - math.log(0.5))).sum()
    torch.testing.assert_close(confident_consistency(weak, strong, label), expected[None])


def test_without_confident_images_it_is_zero():
    weak, strong = torch.tensor([[[5.0, 0.0]]]), torch.randn(1, 1, 2, requires_grad=True)
    value = confident_consistency(weak, strong, torch.tensor([1])).sum()
    value.backward()
    assert value == 0 and not strong.grad.any()


def test_weak_view_is_detached():
    weak, strong = (torch.randn(2, 3, 4, requires_grad=True) for _ in range(2))
    confident_consistency(weak, strong, weak[0].argmax(1)).sum().backward()
    assert weak.grad is None and strong.grad.any()


def test_consistency_ramps_up():
    logits, label = torch.randn(3, 10, 3), torch.tensor([0, 1, 2, 2, 0])
    full = expert_terms(mdcs(epoch=19), logits, label)['loss_consistency']
    for epoch, share in ((0, 0.05), (9, 0.5), (300, 1)):
        torch.testing.assert_close(expert_terms(mdcs(epoch=epoch), logits, label)['loss_consistency'], share * full)
