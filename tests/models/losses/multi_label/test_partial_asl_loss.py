import pytest
import torch

from ltmm.models.losses import ASLLoss, PartialASLLoss
from ltmm.models.losses.multi_label.partial_asl_loss import highest, selected_unknown

SCORE = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
TARGET = torch.randint(-1, 2, (6, 5), generator=torch.Generator().manual_seed(1))


def per_label(target=TARGET, **arguments):
    return PartialASLLoss(reduction='none', **arguments)(SCORE, target)


def test_ignored_labels_cost_nothing_and_the_others_what_they_cost():
    ignored, negative = per_label(mode='ignore'), per_label(mode='negative')
    assert (ignored[TARGET == -1] == 0).all()
    torch.testing.assert_close(ignored[TARGET != -1], negative[TARGET != -1])


def test_normalising_counts_the_known_labels_of_the_image():
    factor = 1 + 1 / (1 + (TARGET != -1).sum(1, keepdim=True))
    torch.testing.assert_close(per_label(mode='ignore_normalize'), factor * per_label(mode='ignore'))


def test_complete_labels_with_one_focus_are_asymmetric_loss():
    target = TARGET.clamp(min=0)
    expected = ASLLoss(3, 1)(SCORE, target)
    torch.testing.assert_close(PartialASLLoss('negative', gamma_pos=1, gamma_neg=3)(SCORE, target), expected)


def test_selective_drops_the_likeliest_unknown_labels_of_the_batch():
    dropped = (per_label(mode='selective', topk=1) == 0) & (TARGET == -1)
    likeliest = SCORE[TARGET == -1].topk(6).values.min()
    torch.testing.assert_close(dropped, (TARGET == -1) & (SCORE >= likeliest))


def test_selective_drops_the_unknown_labels_of_frequent_classes():
    counts = dict(instance_counts=[60, 30, 9, 5, 1], num_images=100)
    kept = per_label(mode='selective', topk=0, prior_threshold=0.2, class_counts=counts) != 0
    assert not kept[:, :2][TARGET[:, :2] == -1].any()
    assert kept[TARGET != -1].all()


def test_more_to_drop_than_there_is_drops_all_unknown_and_nothing_else():
    unknown = TARGET == -1
    assert not selected_unknown(SCORE, unknown.double(), 100, None).any()
    assert (per_label(mode='selective', topk=5)[~unknown] != 0).all()


def test_only_the_prior_asks_for_a_class_distribution():
    PartialASLLoss('selective', topk=1)(SCORE, TARGET)
    with pytest.raises(RuntimeError, match='PartialASLLoss needs the class distribution'):
        PartialASLLoss('selective', topk=1, prior_threshold=0.1)(SCORE, TARGET)


@pytest.mark.parametrize(
    'arguments, message',
    [
        (dict(mode='drop'), "`mode` to be one of .*, but got 'drop'"),
        (dict(mode='selective'), "belong to mode='selective', but got mode='selective', topk=None"),
        (dict(mode='ignore', topk=2), "belong to mode='selective', but got mode='ignore'"),
        (dict(mode='selective', topk=1, prior_threshold=2), r'`prior_threshold` to be in \(0, 1\)'),
    ],
)
def test_what_does_not_go_together_is_refused_at_build(arguments, message):
    with pytest.raises(ValueError, match=message):
        PartialASLLoss(**arguments)


def test_the_highest_scores_are_found_among_many():
    score = torch.randn(64 * 40, generator=torch.Generator().manual_seed(0))
    for k in (1, 7, 39, 100):
        assert sorted(highest(score, k).tolist()) == sorted(score.topk(k).indices.tolist())
