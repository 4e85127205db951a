import pytest
import torch

from ltmm.models.losses import ClassificationLoss, ClassPriorLoss, reduce_loss


class ScoreOfLabel(ClassPriorLoss):
    """The logit of the label."""

    def unreduced(self, cls_score, label):
        assert cls_score.dtype in (torch.float32, torch.float64)
        return cls_score.gather(1, label[:, None]).squeeze(1)


SCORE, LABEL = torch.tensor([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]]), torch.tensor([0, 1, 1])


def loss(**options):
    return ScoreOfLabel(class_counts=[3, 1], **options)


def test_reductions_weight_and_avg_factor():
    weight = torch.tensor([1.0, 0.0, 2.0])
    assert loss()(SCORE, LABEL) == 17 / 3
    assert loss(reduction='sum', loss_weight=2)(SCORE, LABEL) == 34
    assert loss()(SCORE, LABEL, avg_factor=10) == pytest.approx(1.7)
    assert loss()(SCORE, LABEL, weight).item() == pytest.approx(23 / 3)
    torch.testing.assert_close(loss()(SCORE, LABEL, reduction_override='none'), torch.tensor([1.0, 5.0, 11.0]))


def test_mean_of_a_matrix_is_over_rows():
    assert reduce_loss(torch.ones(4, 3)) == 3
    assert reduce_loss(torch.ones(4, 3), weight=torch.tensor([1.0, 0, 0, 0])) == 0.75


def test_half_precision_is_computed_in_float32():
    assert loss()(SCORE.bfloat16(), LABEL).dtype == torch.float32
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert loss()(SCORE, LABEL).dtype == torch.float32


@pytest.mark.parametrize(
    'options, args, kwargs, message',
    [
        (dict(), (torch.zeros(2), LABEL[:2]), dict(), r'logits \(N, C\), but got \(2,\)'),
        (dict(), (torch.zeros(2, 3), LABEL[:2]), dict(), r'logits of 2 classes.*got shape \(2, 3\)'),
        (dict(), (SCORE, torch.zeros(3, 2)), dict(), 'soft labels .*Mixup'),
        (dict(), (SCORE, LABEL), dict(reduction_override='avg'), '`reduction`'),
        (dict(reduction='sum'), (SCORE, LABEL), dict(avg_factor=2), '`avg_factor`'),
    ],
)
def test_bad_inputs(options, args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        loss(**options)(*args, **kwargs)


def test_unreduced_that_reduces_is_refused():
    class Reduced(ClassificationLoss):
        def unreduced(self, cls_score, label):
            return torch.nn.functional.cross_entropy(cls_score, label)

    with pytest.raises(ValueError, match="Reduced.unreduced: expected one loss per row, for 4 rows.*reduction='none'"):
        Reduced()(torch.zeros(4, 3), torch.zeros(4, dtype=torch.long))
