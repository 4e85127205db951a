import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import MultiLabelBCELoss, MultiLabelLoss
from ltmm.models.losses.multi_label.base import check_targets, positives_of, reduce_multi_label_loss

SCORE = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0], [1, 1, 1]])


class PlainLoss(MultiLabelLoss):
    def unreduced(self, cls_score, target):
        return cls_score


@pytest.mark.parametrize(
    'reduction, expected',
    [('mean', SCORE.mean()), ('batchmean', SCORE.sum() / 4), ('sum', SCORE.sum()), ('none', SCORE)],
)
def test_reductions(reduction, expected):
    torch.testing.assert_close(PlainLoss(reduction=reduction)(SCORE, TARGET), expected)
    torch.testing.assert_close(PlainLoss(2.0, 'mean')(SCORE, TARGET, reduction_override=reduction), 2 * expected)


@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_avg_factor_changes_no_other_reduction_than_batchmean(reduction):
    loss = PlainLoss(reduction=reduction)
    torch.testing.assert_close(loss(SCORE, TARGET, avg_factor=40), loss(SCORE, TARGET))
    torch.testing.assert_close(PlainLoss(reduction='batchmean')(SCORE, TARGET, avg_factor=40), SCORE.sum() / 40)


@pytest.mark.parametrize('weight', [torch.tensor([1.0, 0, 2, 3]), torch.rand(4, 3)])
def test_weights_are_of_images_or_of_labels(weight):
    expected = SCORE * (weight if weight.dim() == 2 else weight[:, None])
    torch.testing.assert_close(PlainLoss(reduction='none')(SCORE, TARGET, weight), expected)


def test_an_empty_batch_costs_nothing():
    for reduction in ('mean', 'batchmean', 'sum'):
        assert reduce_multi_label_loss(torch.zeros(0, 3), None, reduction) == 0


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.int64, torch.int8])
def test_the_three_states_of_a_label_are_told_apart(dtype):
    known, partial = torch.tensor([[1, 0]], dtype=dtype), torch.tensor([[1, -1]], dtype=dtype)
    check_targets(known, False, 'X')
    check_targets(known, True, 'X')
    check_targets(partial, True, 'X')
    with pytest.raises(ValueError, match=r'X has no meaning for unknown labels, but image 0 .* has one \(-1\)'):
        check_targets(partial, False, 'X')


def test_positives_are_found_in_order():
    target = torch.tensor([[0, 1, -1], [1, 0, 1], [-1, 0, 0]])
    for dtype in (torch.float32, torch.float64, torch.int64):
        assert positives_of(target.to(dtype)).tolist() == [1, 3, 5]
    assert positives_of(torch.zeros(0, 3)).tolist() == []


@pytest.mark.parametrize('value', [0.9, 2, -2, float('nan'), 1e-3])
def test_another_value_is_refused_by_name(value):
    target = TARGET.clone()
    target[2, 1] = value
    with pytest.raises(ValueError, match=f'LabelBCELoss: expected targets .* image 2 .* has {value:g} for class 1'):
        MultiLabelBCELoss()(SCORE, target)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match=r'one shape \(N, C\), but got \(4, 3\) and \(4,\)'):
        MultiLabelBCELoss()(SCORE, torch.zeros(4))


def test_unknown_reduction_is_refused_at_build_and_at_the_call():
    with pytest.raises(ValueError, match="Expected `reduction` to be one of .*, but got 'avg'"):
        MultiLabelBCELoss(reduction='avg')
    with pytest.raises(ValueError, match="but got 'avg'"):
        MultiLabelBCELoss()(SCORE, TARGET, reduction_override='avg')


@pytest.mark.parametrize('loss_weight', [-1, float('nan')])
def test_loss_weight_is_at_least_zero(loss_weight):
    with pytest.raises(ValueError, match=f'Expected `loss_weight` to be at least 0, but got {loss_weight}'):
        MultiLabelBCELoss(loss_weight)


def test_an_unknown_label_that_is_left_out_has_neither_loss_nor_gradient():
    target = TARGET.clone()
    target[1, 1] = -1
    score = SCORE.clone().requires_grad_()
    loss = MultiLabelBCELoss(reduction='none')(score, target)
    loss.sum().backward()
    assert loss[1, 1] == 0 and score.grad[1, 1] == 0
    known = target >= 0
    expected = F.binary_cross_entropy_with_logits(SCORE, TARGET, reduction='none')
    torch.testing.assert_close(loss[known], expected[known])
