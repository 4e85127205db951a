import pytest
import torch

from ltmm.models.losses import ASLLoss, PartialASLLoss
from ltmm.models.losses.multi_label.partial_asl_loss import least_likely

SCORE = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGET = torch.randint(-1, 2, (6, 5), generator=torch.Generator().manual_seed(1))


def per_label(target=TARGET, **arguments):
    return PartialASLLoss(reduction='none', **arguments)(SCORE, target)


def test_ignore():
    ignored, negative = per_label(mode='ignore'), per_label(mode='negative')
    assert (ignored[TARGET == -1] == 0).all()
    torch.testing.assert_close(ignored[TARGET != -1], negative[TARGET != -1])


def test_ignore_normalize():
    factor = 1 + 1 / (1 + (TARGET != -1).sum(1, keepdim=True))
    torch.testing.assert_close(per_label(mode='ignore_normalize'), factor * per_label(mode='ignore'))


def test_complete_labels():
    target = TARGET.clamp(min=0)
    expected = ASLLoss(gamma_neg=3, gamma_pos=1)(SCORE, target)
    torch.testing.assert_close(PartialASLLoss(mode='negative', gamma_pos=1, gamma_neg=3)(SCORE, target), expected)


def test_selective_topk():
    dropped = (per_label(mode='selective', topk=1) == 0) & (TARGET == -1)
    likeliest = SCORE[TARGET == -1].topk(6).values.min()
    torch.testing.assert_close(dropped, (TARGET == -1) & (SCORE >= likeliest))


def test_selective_prior():
    counts = dict(instance_counts=[60, 30, 9, 5, 1], num_images=100)
    kept = per_label(mode='selective', topk=0, prior_threshold=0.2, class_counts=counts) != 0
    assert not kept[:, :2][TARGET[:, :2] == -1].any()
    assert kept[TARGET != -1].all()


def test_selective_topk_above_the_number_of_unknown():
    unknown = TARGET == -1
    assert not least_likely(SCORE, unknown.double(), 100).any()
    assert (per_label(mode='selective', topk=5)[~unknown] != 0).all()


def test_only_the_prior_needs_the_class_distribution():
    PartialASLLoss(mode='selective', topk=1)(SCORE, TARGET)
    with pytest.raises(RuntimeError, match='PartialASLLoss needs the class distribution'):
        PartialASLLoss(mode='selective', topk=1, prior_threshold=0.1)(SCORE, TARGET)
