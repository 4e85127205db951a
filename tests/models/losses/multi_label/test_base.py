import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import MultiLabelBCELoss, MultiLabelLoss
from ltmm.models.losses.multi_label.base import check_targets
from ltmm.utils.errors import InputError

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
    torch.testing.assert_close(PlainLoss(loss_weight=2.0)(SCORE, TARGET, reduction_override=reduction), 2 * expected)


@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_avg_factor_changes_batchmean_only(reduction):
    loss = PlainLoss(reduction=reduction)
    torch.testing.assert_close(loss(SCORE, TARGET, avg_factor=40), loss(SCORE, TARGET))
    torch.testing.assert_close(PlainLoss(reduction='batchmean')(SCORE, TARGET, avg_factor=40), SCORE.sum() / 40)


@pytest.mark.parametrize('weight', [torch.tensor([1.0, 0, 2, 3]), torch.rand(4, 3)])
def test_weights_of_images_or_labels(weight):
    expected = SCORE * (weight if weight.dim() == 2 else weight[:, None])
    torch.testing.assert_close(PlainLoss(reduction='none')(SCORE, TARGET, weight), expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.int64, torch.int8])
def test_check_targets(dtype):
    complete, partial = torch.tensor([[1, 0]], dtype=dtype), torch.tensor([[1, -1]], dtype=dtype)
    assert not check_targets(complete, False, 'X') and not check_targets(complete, True, 'X')
    assert check_targets(partial, True, 'X')
    with pytest.raises(InputError, match=r'X does not support unknown labels, but image 0 .* has -1 for class 1'):
        check_targets(partial, False, 'X')


@pytest.mark.parametrize('value', [0.9, 2, -2, float('nan'), float('inf'), 1e-3])
def test_other_targets_are_refused(value):
    target = TARGET.clone()
    target[2, 1] = value
    with pytest.raises(InputError, match=f'LabelBCELoss: expected targets .* image 2 .* has {value:g} for class 1'):
        MultiLabelBCELoss()(SCORE, target)


def test_shapes_that_differ_are_refused():
    with pytest.raises(InputError, match=r'one shape \(N, C\), but got \(4, 3\) and \(4,\)'):
        MultiLabelBCELoss()(SCORE, torch.zeros(4))


def test_unknown_labels_have_no_loss_and_no_gradient():
    target = TARGET.clone()
    target[1, 1] = -1
    score = SCORE.clone().requires_grad_()
    loss = MultiLabelBCELoss(reduction='none')(score, target)
    loss.sum().backward()
    assert loss[1, 1] == 0 and score.grad[1, 1] == 0
    known = target >= 0
    expected = F.binary_cross_entropy_with_logits(SCORE, TARGET, reduction='none')
    torch.testing.assert_close(loss[known], expected[known])
