import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ltmm.models.losses import LossInputs
from ltmm.models.losses.detection.loce_loss import LOCELoss, equilibrium_loss
from ltmm.utils.errors import InputError, MissingInputError

C, D = 4, 6
LABEL = torch.tensor([0, 0, 1, 3, C, C])
OBJECT = torch.tensor([0, 0, 1, 2, -1, -1])


def build(**options):
    loss = LOCELoss(feat_dim=D, **options)
    assert loss.get_cls_channels(C) == C + 1
    return loss


def inputs(label=LABEL, object_idx=OBJECT, seed=0, **changes):
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(len(label), D, generator=generator).requires_grad_()
    torch.manual_seed(seed)
    classifier = nn.Linear(D, C + 1)
    given = dict(features=features, classifier=classifier, weight=torch.ones(len(label)), avg_factor=max(len(label), 1))
    return LossInputs(label, classifier(features), **{**given, 'object_idx': object_idx, **changes})


def test_formula():
    score = torch.randn(6, C + 1, dtype=torch.float64)
    mean_score = torch.tensor([0.5, 0.1, 0.01, 0.9, 0.01], dtype=torch.float64)
    prob = mean_score * score.exp()
    expected = -(prob / prob.sum(1, keepdim=True))[torch.arange(6), LABEL].log()
    torch.testing.assert_close(equilibrium_loss(score, LABEL, mean_score), expected)


def test_mean_scores_are_updated_before_the_loss():
    loss, batch = build(num_memory_classes=0), inputs()
    value = loss(batch)['loss_cls']
    prob = batch.cls_score.softmax(1)
    own = prob[torch.arange(6), LABEL]
    m = [0.009 + 0.1 * (own[0] + own[1]) / 2, 0.009 + 0.1 * own[2], 0.01, 0.009 + 0.1 * own[3], 0.01]
    m = torch.stack([torch.as_tensor(x) for x in m]).detach()
    torch.testing.assert_close(loss.mean_score, m)
    torch.testing.assert_close(value, F.cross_entropy(batch.cls_score + m.log(), LABEL))


def test_memory_rows_go_through_the_classifier():
    loss, first, second = build(num_memory_classes=2, num_memory_features=3), inputs(), inputs(seed=1)
    loss(first)
    assert loss.memory.counts.tolist() == [2, 1, 0, 1]
    torch.testing.assert_close(loss.memory.features[0, :2], first.features[:2].detach())
    before = loss.mean_scores.values.clone()
    torch.manual_seed(3)
    features, label = loss.memory.draw(1 / (before + 1e-7), 2, 3)
    torch.manual_seed(3)
    value = loss(second)['loss_cls']
    rows = torch.cat([second.cls_score, second.classifier(features)])
    assert len(label) >= 2
    torch.testing.assert_close(
        value, F.cross_entropy(rows + loss.mean_score.log(), torch.cat([LABEL, label]), reduction='sum') / len(rows)
    )


def test_rows_of_a_class_in_memory_count_as_one_object():
    loss = build(num_memory_classes=1)
    loss(inputs(LABEL[:2], OBJECT[:2]))
    before = loss.mean_scores.values[0].clone()
    batch = inputs(LABEL[-2:], OBJECT[-2:])  # background only
    loss(batch)
    own = batch.classifier(loss.memory.features[0, :2]).softmax(1)[:, 0].mean()
    torch.testing.assert_close(loss.mean_scores.values[0], 0.9 * before + 0.1 * own)


@pytest.mark.parametrize('label', [[], [C, C], [2]])
def test_batches_without_proposals_or_objects(label):
    loss = build()
    for _ in range(2):
        batch = inputs(torch.tensor(label, dtype=torch.long), torch.tensor([-1 if y == C else 0 for y in label]).long())
        value = loss(batch)['loss_cls']
        value.backward()
    assert value.isfinite() and batch.features.grad.isfinite().all() and loss.mean_score.isfinite().all()


def test_large_logits_and_bfloat16():
    loss, batch = build(), inputs()
    big = LossInputs(**{**vars(batch), 'cls_score': (1e4 * batch.cls_score).bfloat16()})
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = loss(big)['loss_cls']
    assert value.dtype == torch.float32 and value.isfinite()
    assert loss.mean_scores.values.dtype == torch.float32 and (loss.mean_scores.values > 0).all()


def test_mean_score_of_0_is_refused_by_its_start():
    with pytest.raises(InputError, match='background_score'):
        build(background_score=0)


def test_bad_inputs():
    with pytest.raises(MissingInputError, match='get_cls_channels'):
        LOCELoss(feat_dim=D)(inputs())
    with pytest.raises(InputError, match=r'feat_dim=6\), but got \(N, 3\)'):
        build()(inputs(features=torch.zeros(6, 3)))
    with pytest.raises(InputError, match=r'expected logits \(N, 5\), but got \(N, 3\)'):
        build()(LossInputs(**{**vars(inputs()), 'cls_score': torch.zeros(6, 3)}))
    with pytest.raises(InputError, match='`object_idx`'):
        build()(inputs(object_idx=None))
