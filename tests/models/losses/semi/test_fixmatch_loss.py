import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import LossInputs
from ltmm.registry import MODELS


def inputs(**changes) -> LossInputs:
    torch.manual_seed(0)
    values = dict(label=torch.tensor([0, 2]), cls_score=torch.randn(2, 3), unlabeled_score=3 * torch.randn(3, 5, 3))
    return LossInputs(**{**values, **changes})


def test_formula():
    loss, given = MODELS.build(dict(type='ltmm.FixMatchLoss', threshold=0.8, unlabeled_weight=0.5)), inputs()
    terms = loss(given)
    weak, *strong = given.unlabeled_score
    expected, used = 0.0, 0
    for i, row in enumerate(weak.softmax(1)):
        if row.max() >= 0.8:
            used += 1
            expected += sum(F.cross_entropy(view[i], row.argmax()) for view in strong) / 10
    assert 0 < used < 5
    torch.testing.assert_close(terms['loss_unlabeled'], 0.5 * expected)
    torch.testing.assert_close(terms['loss_labeled'], F.cross_entropy(given.cls_score, given.label))
    assert terms['mask_rate'].item() == pytest.approx(used / 5)


def test_weak_views_have_no_gradient():
    score = (3 * torch.randn(2, 5, 3)).requires_grad_()
    terms = MODELS.build(dict(type='ltmm.FixMatchLoss', threshold=0.0))(inputs(unlabeled_score=score))
    terms['loss_unlabeled'].backward()
    assert not score.grad[0].any() and score.grad[1].any()


@pytest.mark.parametrize('threshold', [0.0, 1.0])
def test_all_or_none_confident(threshold):
    terms = MODELS.build(dict(type='ltmm.FixMatchLoss', threshold=threshold))(inputs())
    assert terms['mask_rate'] == 1 - threshold and (terms['loss_unlabeled'] == 0) == bool(threshold)
    assert terms['loss_labeled'].isfinite()


def test_bfloat16():
    score = (3 * torch.randn(2, 5, 3)).bfloat16()
    loss = MODELS.build(dict(type='ltmm.FixMatchLoss', threshold=0.5))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        got = loss(inputs(unlabeled_score=score))['loss_unlabeled']
    torch.testing.assert_close(got, loss(inputs(unlabeled_score=score.float()))['loss_unlabeled'])
    assert got.dtype == torch.float32
