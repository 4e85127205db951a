import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses import BalancedSoftmaxLoss, CDTLoss, VSLoss

COUNTS = [500, 60, 20, 3]
LABEL = torch.tensor([0, 1, 3, 3, 2])


def test_equals_the_formula():
    score, n = torch.randn(5, 4, dtype=torch.float64), torch.tensor(COUNTS).double()
    adjusted = score / (n.max() / n) ** 0.2 + 1.2 * (n / n.sum()).log()
    torch.testing.assert_close(VSLoss(0.2, 1.2, class_counts=COUNTS)(score, LABEL), F.cross_entropy(adjusted, LABEL))


@pytest.mark.parametrize('counts', [COUNTS, [500, 60, 0, 3]])
def test_balanced_softmax_and_cdt_are_its_limits(counts):
    score, label = torch.randn(5, 4), torch.tensor([0, 1, 3, 3, 1])
    kwargs = dict(class_counts=counts, reduction='none')
    torch.testing.assert_close(VSLoss(0, 1, **kwargs)(score, label), BalancedSoftmaxLoss(**kwargs)(score, label))
    torch.testing.assert_close(VSLoss(0.3, 0, **kwargs)(score, label), CDTLoss(0.3, **kwargs)(score, label))


def test_a_class_without_samples_has_no_part_and_no_gradient():
    score = torch.randn(5, 4, requires_grad=True)
    VSLoss(0.2, 1.2, class_counts=[500, 60, 0, 3])(score, torch.tensor([0, 1, 3, 3, 1])).backward()
    assert not score.grad[:, 2].any() and score.grad.isfinite().all()


@pytest.mark.parametrize('strengths, name', [((-1, 1), 'gamma'), ((1, -1), 'tau'), ((1, float('nan')), 'tau')])
def test_strengths_out_of_range_are_refused_at_build(strengths, name):
    with pytest.raises(ValueError, match=f'Expected `{name}` to be at least 0, but got'):
        VSLoss(*strengths)
