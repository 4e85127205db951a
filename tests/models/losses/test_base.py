import pytest
import torch

from ltmm.models.losses import ClassPriorLoss, reduce_loss


class ScoreOfLabel(ClassPriorLoss):
    """The logit of the label, to see what the base does with it."""

    def unreduced(self, cls_score, label):
        assert cls_score.dtype in (torch.float32, torch.float64)
        return cls_score.gather(1, label[:, None]).squeeze(1)


SCORE, LABEL = torch.tensor([[1.0, 2.0], [3.0, 5.0], [7.0, 11.0]]), torch.tensor([0, 1, 1])


def loss(**options):
    return ScoreOfLabel(class_counts=[3, 1], **options)


def test_mean_sum_none_weight_and_avg_factor():
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


def test_an_empty_batch_is_zero_and_differentiable():
    score = torch.zeros(0, 2, requires_grad=True)
    value = loss()(score, torch.zeros(0, dtype=torch.long))
    value.backward()
    assert value == 0


@pytest.mark.parametrize(
    'call, message',
    [
        (lambda: loss(reduction='average'), "one of .*, but got 'average'"),
        (lambda: loss()(torch.zeros(2, 3), LABEL[:2]), r'logits of shape \(N, 2\).*but got \(2, 3\)'),
        (lambda: loss()(SCORE, torch.zeros(3, 2)), 'soft labels .*leave Mixup'),
        (lambda: loss(reduction='sum')(SCORE, LABEL, avg_factor=2), "reduction='mean' with `avg_factor`"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
