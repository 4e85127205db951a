import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from toy_losses import expert_terms

from ltmm.models.losses import SHIKELoss
from ltmm.models.losses.expert.shike_loss import hard_category_logits

LABEL = torch.tensor([0, 1, 3, 2, 0])


def naive(logits: Tensor, label: Tensor, fill: float) -> dict[str, Tensor]:
    """The formula, image by image and class by class."""
    (num_experts, num, num_classes), mean = logits.shape, logits.mean(0)
    hard = mutual = 0
    for i, y in enumerate(label.tolist()):
        wrong = [c for c in range(num_classes) if c != y]
        hardest = max(wrong, key=lambda c: mean[i, c].item())
        reference = [max(logits[:, i, c]) if c != hardest else mean[i, c] for c in range(num_classes)]
        reference[y] = torch.zeros((), dtype=logits.dtype)
        q = torch.stack(reference).softmax(0)
        p = logits[:, i].softmax(1)
        for e in range(num_experts):
            g = torch.stack([logits[e, i, c] if c != y else torch.tensor(fill) for c in range(num_classes)]).softmax(0)
            hard += F.kl_div(g.log(), q, reduction='sum') / num_classes / num
            mutual += sum(F.kl_div(p[e].log(), p[j], reduction='sum') for j in range(num_experts)) / num_classes / num
    return dict(loss_hard=10 * hard, loss_mutual=mutual)


@pytest.mark.parametrize('num_experts', [1, 2, 3])
def test_formula(num_experts):
    logits = (3 * torch.randn(num_experts, 5, 4, dtype=torch.float64)).requires_grad_()
    terms = expert_terms(SHIKELoss(), logits, LABEL)
    expected = {f'loss_expert{e}': F.cross_entropy(z, LABEL) for e, z in enumerate(logits)}
    expected |= naive(logits, LABEL, -30.0)
    torch.testing.assert_close(terms, expected)
    grads = [torch.autograd.grad(sum(each.values()), logits)[0] for each in (terms, expected)]
    torch.testing.assert_close(*grads)  # of reference and of all experts


def test_hardest_class_and_the_others():
    logits = torch.tensor([[[9.0, 2.0, 1.0, 0.0]], [[9.0, 0.0, 1.5, 3.0]]])  # on average 1 1.25 1.5
    merged, wrong = hard_category_logits(logits, torch.tensor([0]), -5.0)
    assert merged.tolist() == [[0.0, 2.0, 1.5, 1.5]]
    assert wrong[0].tolist() == [[-5.0, 2.0, 1.0, 0.0]]


def test_weights_and_no_class_counts():
    logits = torch.randn(3, 5, 4)
    full, loss = SHIKELoss(), SHIKELoss(hard_weight=5.0, mutual_weight=0.0)
    terms, halved = expert_terms(full, logits, LABEL), expert_terms(loss, logits, LABEL)
    torch.testing.assert_close(halved['loss_hard'], terms['loss_hard'] / 2)
    assert halved['loss_mutual'] == 0 and not full.balances_classes
