import torch
import torch.nn.functional as F

from ltmm import ClassDistribution
from ltmm.models.losses.multi_label import MultiLabelLDAMLoss

COUNTS = [625, 81, 16, 0]


def build(**kwargs):
    loss = MultiLabelLDAMLoss(**kwargs)
    loss.set_class_distribution(ClassDistribution(COUNTS, num_images=700))
    return loss


def test_formula():
    score, target = torch.randn(5, 4, dtype=torch.float64), torch.eye(5, 4, dtype=torch.float64)
    margin = 2 * torch.tensor([1 / 5, 1 / 3, 1 / 2, 0], dtype=torch.float64) * 0.7  # the rarest that occurs: 0.7
    expected = F.binary_cross_entropy_with_logits(torch.where(target == 1, score - margin, score), target)
    torch.testing.assert_close(build(max_margin=0.7)(score, target), expected)


def test_unknown_labels():
    score = torch.randn(2, 4, requires_grad=True)
    loss = build(reduction='none')(score, torch.tensor([[1, -1, 0, 0], [-1, 0, 1, 0]]))
    loss.sum().backward()
    assert loss[0, 1] == loss[1, 0] == score.grad[0, 1] == score.grad[1, 0] == 0
    assert (loss != 0).sum() == (score.grad != 0).sum() == 6
