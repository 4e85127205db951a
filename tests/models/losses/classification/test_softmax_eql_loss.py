import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.classification.softmax_eql_loss import SoftmaxEQLLoss, softmax_eql_loss

COUNTS = [700, 200, 90, 10, 0]  # f = .7, .2, .09, .01, 0
C = len(COUNTS)


def batch(num=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    score = 2 * torch.randn(num, C, generator=generator, dtype=torch.float64)
    return score.requires_grad_(), torch.randint(C, (num,), generator=generator)


def test_formula():
    score, label = batch()
    is_dropped = torch.rand(8, C) < 0.5
    expected = []
    for z, y, dropped in zip(score, label, is_dropped):
        kept = [z[k].exp() for k in range(C) if k == y or not dropped[k]]
        expected.append(-torch.log(z[y].exp() / sum(kept)))
    values = [softmax_eql_loss(score, label, is_dropped), torch.stack(expected)]
    torch.testing.assert_close(*values)
    torch.testing.assert_close(*(torch.autograd.grad(value.sum(), score)[0] for value in values))


def test_tail_gets_no_gradient_from_other_classes():
    score, label = batch()
    SoftmaxEQLLoss(lambda_=0.09, drop_prob=1.0, class_counts=COUNTS)(score, label).backward()
    is_tail = torch.tensor([False, False, False, True, True])  # 0.09 is not below lambda
    is_own = F.one_hot(label, C).bool()
    assert ((score.grad == 0) == (is_tail & ~is_own)).all()


@pytest.mark.parametrize('prob', [0.0, 0.3, 0.9])
def test_share_of_dropped_negatives(prob):
    torch.manual_seed(0)
    score, label = torch.zeros(4000, C, requires_grad=True), torch.zeros(4000, dtype=torch.long)
    SoftmaxEQLLoss(lambda_=0.05, drop_prob=prob, class_counts=COUNTS)(score, label).backward()
    dropped = (score.grad == 0).float().mean(0)
    torch.testing.assert_close(dropped, torch.tensor([0, 0, 0, prob, prob]), rtol=0, atol=0.03)


def test_without_tail_classes_it_is_the_cross_entropy():
    score, label = batch()
    with pytest.warns(UserWarning, match=r'0 of 5 classes are tail classes.* 0.111 and 0.333'):
        loss = SoftmaxEQLLoss(lambda_=1e-3, class_counts=[3, 2, 2, 1, 1])
    torch.testing.assert_close(loss(score, label), F.cross_entropy(score, label))


def test_one_class_left_in_the_softmax_is_no_loss():
    score = torch.randn(3, C, requires_grad=True)
    with pytest.warns(UserWarning, match='5 of 5 classes are tail'):
        loss = SoftmaxEQLLoss(lambda_=2.0, drop_prob=1.0, class_counts=COUNTS)
    value = loss(score, torch.tensor([0, 4, 2]))
    value.backward()
    assert value == 0 and (score.grad == 0).all()


def test_large_logits_in_half_precision():
    score = torch.tensor([[3e4, -3e4, 0.0, 1.0, 2.0]], dtype=torch.float16, requires_grad=True)
    value = SoftmaxEQLLoss(lambda_=0.05, class_counts=COUNTS)(score, torch.tensor([1]))
    value.backward()
    assert value.isfinite() and score.grad.isfinite().all()


def test_soft_labels():
    with pytest.raises(ValueError, match='takes class indices'):
        SoftmaxEQLLoss(lambda_=0.05, class_counts=COUNTS)(torch.zeros(2, C), torch.full((2, C), 1 / C))
