import pytest
import torch
import torch.nn.functional as F
from toy_losses import expert_terms

from ltmm.models.losses import RIDEDistillLoss, RIDELoss

SETTINGS = dict(diversity_factor=-0.2, reweight_factor=0.02, reweight_epoch=None, class_counts=[50, 10, 2])


def test_formula():
    logits, teacher, label = torch.randn(2, 5, 3), torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 0])
    loss = RIDEDistillLoss(**SETTINGS, distill_temperature=2.0, distill_weight=0.5)
    terms = expert_terms(loss, logits, label, teacher_logits=teacher)
    plain = expert_terms(RIDELoss(**SETTINGS), logits, label)
    for name, term in plain.items():
        torch.testing.assert_close(terms[name], 2 * term)
    kl = F.kl_div((logits.mean(0) / 2).log_softmax(1), (teacher / 2).softmax(1), reduction='batchmean')
    torch.testing.assert_close(terms['loss_distill'], 2 * 0.5 * 4 * kl)


def test_student_that_equals_its_teacher():
    logits = torch.randn(2, 5, 3)
    label = torch.zeros(5, dtype=torch.long)
    terms = expert_terms(RIDEDistillLoss(**SETTINGS), logits, label, teacher_logits=logits.mean(0))
    assert terms['loss_distill'].item() == pytest.approx(0, abs=1e-6)


def test_needs_a_teacher():
    with pytest.raises(ValueError, match='needs `teacher_logits`'):
        expert_terms(RIDEDistillLoss(**SETTINGS), torch.zeros(2, 1, 3), torch.tensor([0]))
