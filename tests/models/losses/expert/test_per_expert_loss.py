import pytest
import torch
import torch.nn.functional as F
from toy_losses import expert_terms, prepare

from ltmm.models.losses import PerExpertLoss
from ltmm.registry import MODELS

COUNTS = [60, 30, 10]
LABEL = torch.tensor([0, 1, 2, 2])
CE, LDAM = dict(type='mmpretrain.CrossEntropyLoss'), dict(type='ltmm.LDAMLoss')


@pytest.mark.parametrize('inner', [CE, LDAM, dict(type='ltmm.BalancedSoftmaxLoss'), dict(type='ltmm.SoftmaxBCELoss')])
def test_each_expert_has_its_loss(inner):
    logits = torch.randn(2, 4, 3)
    loss = prepare(PerExpertLoss(loss=inner), COUNTS)
    single = prepare(MODELS.build(inner), COUNTS)
    expected = {f'loss_expert{e}': single(z, LABEL) for e, z in enumerate(logits)}
    torch.testing.assert_close(expert_terms(loss, logits, LABEL), expected)


def test_soft_labels_if_the_loss_takes_them():
    logits, soft = torch.randn(2, 4, 3), torch.rand(4, 3).softmax(1)
    terms = expert_terms(
        prepare(PerExpertLoss(loss=dict(type='ltmm.LogitAdjustmentLoss', tau=0.0)), COUNTS), logits, soft
    )
    torch.testing.assert_close(terms['loss_expert1'], F.cross_entropy(logits[1], soft))
    with pytest.raises(ValueError, match='SoftmaxBCELoss takes class indices'):
        expert_terms(PerExpertLoss(loss=dict(type='ltmm.SoftmaxBCELoss')), logits, soft)


def test_class_weight_of_soft_labels():
    weight, logits, soft = torch.tensor([2.0, 0.0, 0.5]), torch.randn(2, 4, 3), torch.rand(4, 3).softmax(1)
    loss = PerExpertLoss(loss=dict(CE, use_soft=True), class_weight=weight.tolist())
    expected = -(soft * weight * logits.log_softmax(-1)).sum(-1).mean(1)
    torch.testing.assert_close(torch.stack([*expert_terms(loss, logits, soft).values()]), expected)


def test_sum_over_the_images():
    logits = torch.randn(2, 4, 3)
    loss = prepare(PerExpertLoss(loss=dict(LDAM, reduction='sum')), COUNTS)
    mean = prepare(PerExpertLoss(loss=LDAM), COUNTS)
    for name, term in expert_terms(mean, logits, LABEL).items():
        torch.testing.assert_close(expert_terms(loss, logits, LABEL)[name], 4 * term)


@pytest.mark.parametrize('inner', ['ltmm.MultiLabelBCELoss', 'ltmm.SADELoss', 'ltmm.EQLv2Loss'])
def test_loss_that_is_no_classification_loss(inner):
    with pytest.raises(TypeError, match='PerExpertLoss (accepts ClassificationLoss|needs a loss with a `weight`)'):
        PerExpertLoss(loss=dict(type=inner))


@pytest.mark.parametrize('inner, balances', [(CE, False), (LDAM, False), (dict(type='ltmm.BalancedSoftmaxLoss'), True)])
def test_balances_as_its_loss(inner, balances):
    assert PerExpertLoss(loss=inner).balances_classes is balances
    assert PerExpertLoss(loss=inner, class_weight='auto').balances_classes
