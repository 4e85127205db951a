import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import ExpertRoutingLoss, LossInputs
from ltmm.models.losses.expert.expert_routing_loss import needs_next_expert


def naive_target(logits, label, expert, row) -> bool:
    """Whether the sum of the experts up to this one is wrong, and that up to a later one right."""
    right = [logits[: e + 1, row].sum(0).argmax() == label[row] for e in range(len(logits))]
    return not right[expert] and any(right[expert + 1 :])


def test_target():
    logits, label = torch.randn(4, 40, 3), torch.randint(3, (40,))
    expected = [[naive_target(logits, label, e, i) for i in range(40)] for e in range(3)]
    assert needs_next_expert(logits, label).tolist() == expected
    assert 0 < sum(map(sum, expected)) < 60


def test_target_of_chosen_predictions():
    right, wrong = torch.tensor([9.0, 0.0]), torch.tensor([0.0, 4.0])
    logits = torch.stack([torch.stack(row) for row in ([right, wrong], [wrong, right], [wrong, wrong], [wrong, right])])
    assert needs_next_expert(logits, torch.tensor([0, 0])).tolist() == [[False, True], [False, False], [False, False]]


@pytest.mark.parametrize('pos_weight', [1.0, 20.0])
def test_formula(pos_weight):
    logits, scores, label = torch.randn(3, 9, 4), torch.randn(2, 9), torch.randint(4, (9,))
    target = needs_next_expert(logits, label).float()
    expected = -(pos_weight * target * F.logsigmoid(scores) + (1 - target) * F.logsigmoid(-scores)).mean()
    inputs = LossInputs(label, expert_logits=logits, router_logits=scores)
    torch.testing.assert_close(ExpertRoutingLoss(pos_weight=pos_weight)(inputs), dict(loss_routing=expected))


def test_soft_labels_are_refused():
    inputs = LossInputs(torch.zeros(2, 4), expert_logits=torch.zeros(3, 2, 4), router_logits=torch.zeros(2, 2))
    with pytest.raises(ValueError, match='ExpertRoutingLoss takes class indices'):
        ExpertRoutingLoss()(inputs)
