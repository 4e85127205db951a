import pytest
import torch
import torch.nn.functional as F

from ltmm.models.losses.detection.fcbl_loss import FCBLLoss, confusion_margins, counted_columns
from ltmm.utils.errors import MissingInputError

C = 4


def build(**options):
    loss = FCBLLoss(**options)
    assert loss.get_cls_channels(C) == C + 1
    return loss


def random_batch(num=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    score = 2 * torch.randn(num, C + 1, generator=generator, dtype=torch.float64)
    return score, torch.randint(C + 1, (num,), generator=generator)


class Naive:
    """The formula, row by row."""

    def __init__(self):
        self.sums, self.counts = torch.zeros(C, C, dtype=torch.float64), [0] * C

    def __call__(self, score, label):
        total = 0
        for z, y in zip(score, label.tolist()):
            prob = z.detach().sigmoid()
            for k in range(C + 1):
                margin, weight = 0.0, 1.0
                if y < C and k < C:
                    there, back = self.mean(y, k), self.mean(k, y)
                    margin = 0.85 * torch.log(there.clamp(min=1e-3) / back.clamp(min=1e-3))
                    competes = prob[k] * (1 - prob[C]) >= min(prob[y] * (1 - prob[C]), torch.tensor(0.7).double())
                    weight = float(competes)
                target = torch.tensor(float(y == k), dtype=score.dtype)
                total = total + weight * F.binary_cross_entropy_with_logits(z[k] + margin, target)
        for z, y in zip(score.detach(), label.tolist()):
            if y < C:
                self.sums[y] += z[:C].softmax(0)
                self.counts[y] += 1
        return total / len(score)

    def mean(self, i, j):
        return self.sums[i, j] / max(self.counts[i], 1)


def test_formula_over_iterations():
    ours, naive = build(), Naive()
    for step in range(3):
        score, label = random_batch(seed=step)
        score.requires_grad_()
        ours_value, expected = ours(score, label), naive(score, label)
        torch.testing.assert_close(ours_value, expected)
        torch.testing.assert_close(torch.autograd.grad(ours_value, score), torch.autograd.grad(expected, score))
    torch.testing.assert_close(ours.confusion.scores, naive.sums)


def test_margins_are_antisymmetric_and_0_for_classes_without_objects():
    confusion = torch.tensor([[0.7, 0.3, 0.0], [0.1, 0.9, 0.0], [0.0, 0.0, 0.0]])
    margins = confusion_margins(confusion, alpha=0.5)
    torch.testing.assert_close(margins[0, 1], 0.5 * torch.tensor(3.0).log())
    torch.testing.assert_close(margins, -margins.T)
    assert not margins[3].any() and not margins[2, 2] and margins.isfinite().all()


def test_background_counts_all_columns():
    score, label = random_batch()
    columns = counted_columns(score, label, 0.7)
    assert columns[label == C].all() and columns[:, C].all() and not columns.all()
    assert columns.gather(1, label.unsqueeze(1)).all()


def test_weights_start_in_their_epoch():
    score, label = random_batch()
    late = build(reweight_epoch=3)
    values = []
    for epoch in (2, 3):
        late.set_progress(epoch, 12)
        late.eval()
        values.append(late(score, label))
    torch.testing.assert_close(values[0], build(reweight_epoch=None)(score, label))
    torch.testing.assert_close(values[1], build()(score, label))
    assert values[1] < values[0]
    assert 'is never' in build(reweight_epoch=3).too_short(3)


def test_bfloat16_and_evaluation_mode():
    loss, (score, label) = build(), random_batch()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(score.bfloat16(), label)
    assert value.dtype == torch.float32 and loss.confusion.scores.dtype == torch.float64
    before = loss.confusion.counts.clone()
    loss.eval()(score, label)
    assert before.sum() == (label < C).sum() and before.equal(loss.confusion.counts)


def test_number_of_classes_is_needed():
    with pytest.raises(MissingInputError, match='get_cls_channels'):
        FCBLLoss()(*random_batch())
