import pytest
import torch
import torch.nn.functional as F
from toy_losses import prepare
from toy_ranks import on_ranks

from ltmm.models.losses import EQLLoss
from ltmm.models.losses.detection.drop_loss import DropLoss, drop_weight, tail_share
from ltmm.models.losses.detection.gumbel_loss import gumbel_activation, gumbel_cross_entropy
from ltmm.utils.errors import InputError

C, COUNTS, IMAGES = 4, [50, 20, 5, 1], 60  # lambda_=0.1: classes 2 and 3 are tail
IS_TAIL = torch.tensor([0.0, 0, 1, 1], dtype=torch.float64)


def build(loss=DropLoss, **options):
    loss = loss(lambda_=0.1, **options)
    assert loss.get_cls_channels(C) == C
    return prepare(loss, COUNTS, num_images=IMAGES)


def random_batch(num=16):
    generator = torch.Generator().manual_seed(0)
    score = torch.randn(num, C, generator=generator, dtype=torch.float64)
    return score, torch.randint(C + 1, (num,), generator=generator)


def naive_weight(label, uniform):
    objects = [y for y in label.tolist() if y < C]
    share = sum(y >= 2 for y in objects) / len(objects)
    rows = []
    for y, row in zip(label.tolist(), uniform.tolist()):
        rows.append([float(y == j or j < 2 or (y == C and u <= share)) for j, u in enumerate(row)])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize('activation', ['sigmoid', 'gumbel'])
def test_formula_and_gradient(activation, monkeypatch):
    score, label = random_batch()
    uniform = torch.rand(score.shape, dtype=score.dtype, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(torch, 'rand_like', lambda like: uniform)
    target = F.one_hot(label, C + 1)[:, :C].to(score)
    score.requires_grad_()
    sigmoid = F.binary_cross_entropy_with_logits(score, target, reduction='none')
    each = gumbel_cross_entropy(score, target) if activation == 'gumbel' else sigmoid
    expected = (naive_weight(label, uniform) * each).sum() / 16
    losses = build(activation=activation)(score, label), expected
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss, score)[0] for loss in losses))
    assert 0 < (naive_weight(label, uniform)[label == C] == 0).sum() < 2 * (label == C).sum()


@pytest.mark.parametrize('label, share', [([0, 2, 3, 3, C, C], 0.75), ([3], 1), ([0, 1, C], 0), ([C, C], 1), ([], 1)])
def test_share_of_the_tail(label, share):
    assert tail_share(torch.tensor(label, dtype=torch.long), IS_TAIL) == share


def test_batches_of_one_kind():
    uniform = torch.rand(5, C, dtype=torch.float64) * 0.9 + 0.05
    background = torch.full((5,), C)
    head_only = drop_weight(torch.tensor([0, C, C, C, C]), IS_TAIL, uniform)
    torch.testing.assert_close(head_only, (1 - IS_TAIL).expand(5, C))
    tail_only = drop_weight(torch.tensor([2, C, C, C, C]), IS_TAIL, uniform)
    assert (tail_only[1:] == 1).all() and tail_only[0].tolist() == [1, 1, 0, 0]
    assert (drop_weight(background, IS_TAIL, uniform) == 1).all()
    score = torch.zeros(5, C, requires_grad=True)
    build()(score, background).backward()
    assert (score.grad > 0).all()
    score = torch.zeros(0, C, requires_grad=True)
    build()(score, background[:0]).backward()


def test_objects_alone_are_as_in_eql():
    score, label = random_batch()
    label = label.clamp(max=C - 1)
    torch.testing.assert_close(build()(score, label), build(EQLLoss)(score, label))


def test_scores_and_prior():
    score, _ = random_batch()
    torch.testing.assert_close(build().get_activation(score)[:, :C], score.sigmoid())
    scores = build(activation='gumbel').get_activation(score)
    torch.testing.assert_close(scores[:, :C], gumbel_activation(score))
    assert not scores[:, C].any() and build().prior_prob == 0.001 < build(activation='gumbel').prior_prob


def test_dense_heads_take_sigmoids_only():
    assert DropLoss(lambda_=0.1).get_dense_channels(C) == C
    with pytest.raises(InputError, match=r"DropLoss\(activation='gumbel'\) is for box heads"):
        DropLoss(lambda_=0.1, activation='gumbel').get_dense_channels(C)


def share_on_rank(rank: int) -> float:
    return tail_share(torch.tensor([[0, 2, C], [3, 3, C]][rank]), IS_TAIL).item()


def test_share_is_of_all_ranks(tmp_path):
    assert on_ranks(share_on_rank, tmp_path) == [0.75, 0.75]
