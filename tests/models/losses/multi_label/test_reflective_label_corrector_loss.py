import math

import pytest
import torch
from toy_ranks import on_ranks

from ltmm import ClassDistribution
from ltmm.models.losses.multi_label import ReflectiveLabelCorrectorLoss

COUNTS = [40, 12, 5, 0]
TARGET = torch.tensor([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [-1, 1, -1, 0]])
SCORE = torch.tensor([[2.0, 3, -3, 4], [-1, 2, 0.5, -4], [3, -2, 2, -4], [2, 3, -1, -4]], dtype=torch.float64)
RECALLED = [2, 1, 1, 1]  # labels (2, 0) and (3, 0), (0, 1), (2, 2), (0, 3)


def build(epoch: int | None = 1, **options) -> ReflectiveLabelCorrectorLoss:
    loss = ReflectiveLabelCorrectorLoss(class_counts=COUNTS, **options)
    if epoch is not None:
        loss.set_progress(epoch, max_epochs=4)
    return loss


def naive(cls_score, target, counts, threshold=0.7, batch_size=32):
    """One label at a time, after the formula: the sum, and the counts."""
    z = [[v - (t == 1) for v, t in zip(*rows)] for rows in zip(cls_score.tolist(), target.tolist())]
    p = [[1 / (1 + math.exp(-v)) for v in row] for row in z]
    mean = [sum(column) / len(p) for column in zip(*p)]
    y, counts = target.tolist(), list(counts)
    for i in range(len(p)):
        for c in range(len(counts)):
            if y[i][c] != 1 and p[i][c] > threshold and p[i][c] > mean[c]:
                y[i][c] = 1
                counts[c] += 1
    total = 0.0
    for i in range(len(p)):
        for c, n in enumerate(counts):
            if not n or y[i][c] == -1:
                continue
            weight = (1 - math.log(n / max(counts))) ** (1 / 6)
            right = min(1.05 - p[i][c], 1)
            total -= weight * (math.log(p[i][c]) if y[i][c] == 1 else (1 - right) ** (3 + weight) * math.log(right))
    return total * batch_size / max(sum(row.count(1) for row in y), 1), counts


def test_formula():
    loss = build()
    value = loss(SCORE, TARGET)
    expected, counts = naive(SCORE, TARGET, COUNTS)
    torch.testing.assert_close(value, torch.tensor(expected, dtype=torch.float64))
    assert loss.recalled.tolist() == RECALLED == [a - b for a, b in zip(counts, COUNTS)]


def test_recalled_labels_of_an_epoch():
    loss = build()
    _, counts = naive(SCORE, TARGET, COUNTS)
    loss(SCORE, TARGET)
    torch.testing.assert_close(loss(SCORE, TARGET).item(), naive(SCORE, TARGET, counts)[0])
    assert loss.recalled.tolist() == [2 * n for n in RECALLED]
    loss.set_progress(1, max_epochs=4)  # told the same again: nothing new
    assert loss.recalled.tolist() == [2 * n for n in RECALLED]
    loss.set_progress(2, max_epochs=4)
    assert loss.recalled.tolist() == [0] * 4


def test_evaluation():
    loss = build().eval()
    loss(SCORE, TARGET)
    assert loss.recalled.tolist() == [0] * 4


def test_corrects_from_the_first_epoch_by_default():
    assert build(epoch=0)(SCORE, TARGET) > 0


def test_before_start_epoch():
    score = SCORE.clone().requires_grad_()
    loss = build(epoch=0, start_epoch=1)
    value = loss(score, TARGET)
    value.backward()
    assert value == 0 and (score.grad == 0).all() and loss.recalled.tolist() == [0] * 4


def test_unknown_labels():
    score = SCORE.clone().requires_grad_()
    build()(score, TARGET).backward()
    assert score.grad[3, 0] < 0  # recalled: up
    assert score.grad[3, 2] == 0


def test_class_without_images():
    loss = build()
    assert loss.class_weight[3] == 0
    loss(SCORE, TARGET)
    assert loss.class_weight[3] > loss.class_weight[2]


@pytest.mark.parametrize('scale', [1.0, 1e4])
def test_batch_without_positives(scale):
    score = (-scale * SCORE.abs()).requires_grad_()
    value = build()(score, torch.zeros(4, 4))
    value.backward()
    assert value.isfinite() and score.grad.isfinite().all()


def test_mixed_precision():
    loss = build().to(torch.bfloat16)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(SCORE.bfloat16(), TARGET)
    assert value.dtype == torch.float32
    assert loss.recalled.dtype == torch.int64 and loss.recalled.tolist() == RECALLED


def test_checkpoint():
    loss = build()
    loss(SCORE, TARGET)
    fresh = ReflectiveLabelCorrectorLoss()
    fresh.load_state_dict(loss.state_dict())
    fresh.set_class_distribution(ClassDistribution(COUNTS))  # as the hook does after a resume
    assert torch.equal(fresh.recalled, loss.recalled)
    torch.testing.assert_close(fresh.class_weight, loss.class_weight)


def test_checkpoint_with_other_classes():
    loss = ReflectiveLabelCorrectorLoss(num_classes=2)
    loss.set_class_distribution(ClassDistribution([3, 2]))
    loss.load_state_dict(build().state_dict(), strict=False)
    assert loss.recalled.tolist() == [0, 0]


def test_two_ranks(tmp_path):
    def step(rank: int) -> tuple:
        loss = build()
        score = SCORE[2 * rank : 2 * rank + 2].clone().requires_grad_()
        for _ in range(2):
            loss(score, TARGET[2 * rank : 2 * rank + 2]).backward()
        return score.grad, loss.recalled, loss.class_weight

    union = build()
    score = SCORE.clone().requires_grad_()
    for _ in range(2):
        union(score, TARGET).backward()
    (first, *state), (second, *other_state) = on_ranks(step, tmp_path)
    torch.testing.assert_close(torch.cat([first, second]) / 2, score.grad)  # DDP takes the mean over ranks
    assert torch.equal(state[0], union.recalled) and torch.equal(other_state[0], union.recalled)
    assert torch.equal(state[1], other_state[1])


def test_needs_the_epoch():
    with pytest.raises(RuntimeError, match='ReflectiveLabelCorrectorLoss depends on .*ltmm.ProgressHook'):
        build(epoch=None)(SCORE, TARGET)
