import pytest
import torch
import torch.nn.functional as F
from toy_losses import expert_terms

from ltmm.models.losses import RIDEDistillLoss, RIDELoss

SETTINGS = dict(diversity_factor=-0.2, reweight_factor=0.02, reweight_epoch=None, class_counts=[50, 10, 2])


def test_equals_the_formula():
    logits, teacher, label = torch.randn(2, 5, 3), torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 0])
    loss = RIDEDistillLoss(**SETTINGS, distill_temperature=2.0, distill_weight=0.5)
    terms = expert_terms(loss, logits, label, teacher_logits=teacher)
    plain = expert_terms(RIDELoss(**SETTINGS), logits, label)
    for name, term in plain.items():
        torch.testing.assert_close(terms[name], 2 * term)
    kl = F.kl_div((logits.mean(0) / 2).log_softmax(1), (teacher / 2).softmax(1), reduction='batchmean')
    torch.testing.assert_close(terms['loss_distill'], 2 * 0.5 * 4 * kl)


def test_a_student_that_equals_its_teacher_has_nothing_to_learn_from_it():
    logits = torch.randn(2, 5, 3)
    label = torch.zeros(5, dtype=torch.long)
    terms = expert_terms(RIDEDistillLoss(**SETTINGS), logits, label, teacher_logits=logits.mean(0))
    assert terms['loss_distill'].item() == pytest.approx(0, abs=1e-6)


def test_asks_for_a_teacher():
    with pytest.raises(ValueError, match="needs the logits of a teacher: .*'ltmm.DistillClassifier'"):
        expert_terms(RIDEDistillLoss(**SETTINGS), torch.zeros(2, 1, 3), torch.tensor([0]))


def test_refuses_a_temperature_of_zero():
    with pytest.raises(ValueError, match='`distill_temperature` to be positive, but got 0'):
        RIDEDistillLoss(**SETTINGS, distill_temperature=0)


@pytest.mark.parametrize('weight', [-1, float('nan')])
def test_refuses_a_weight_below_zero(weight):
    with pytest.raises(ValueError, match=f'`distill_weight` to be at least 0, but got {weight}'):
        RIDEDistillLoss(**SETTINGS, distill_weight=weight)
