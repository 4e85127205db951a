import pytest
import torch
import torch.nn.functional as F
from mmengine.registry import DefaultScope
from toy_losses import expert_terms, prepare

from ltmm.models.losses import RoIExpertLoss, RoILossPerExpert
from ltmm.registry import MODELS

C, E = 4, 3
COUNTS = [40, 20, 5, 1]
LABEL = torch.tensor([0, 0, 1, 3, C, C, C, C])
EXPERT_LOSSES = [
    dict(type='ltmm.BalPoELoss', taus=(0.0, 1.0, 2.0)),
    dict(type='ltmm.LGLALoss', scale=3.0),
    dict(type='ltmm.SADELoss'),
    dict(type='ltmm.RIDELoss', diversity_factor=-0.2, reweight_factor=0.02, reweight_epoch=0),
]


@pytest.fixture(autouse=True)
def in_scope_mmdet():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def ready(loss):
    """Return the loss as in a head of C classes."""
    loss.get_cls_channels(C)
    return prepare(loss, COUNTS)


def logits(width, num=len(LABEL)):
    return torch.randn(num, width, generator=torch.Generator().manual_seed(0)).requires_grad_()


@pytest.mark.parametrize('cfg', EXPERT_LOSSES, ids=lambda cfg: cfg['type'])
def test_formula(cfg):
    loss, score = ready(RoIExpertLoss(loss=cfg, num_experts=E)), logits(E * (C + 2))
    weight = torch.ones(len(LABEL))
    weight[[1, 7]] = 0
    terms = loss(score, LABEL, weight, avg_factor=6.0)
    experts = score.view(len(LABEL), E, C + 2).transpose(0, 1)  # (E, N, C + 2)
    objects = (LABEL < C) & (weight > 0)
    expected = expert_terms(prepare(MODELS.build(cfg), COUNTS), experts[:, objects, :C], LABEL[objects])
    objectness = sum(
        (F.cross_entropy(z[:, C:], (LABEL == C).long(), reduction='none') * weight).sum() / 6 for z in experts
    )
    torch.testing.assert_close(terms.pop('loss_objectness'), objectness / E)
    torch.testing.assert_close(terms, {name: value * 3 / 6 for name, value in expected.items()})


def test_scores():
    loss, score = ready(RoIExpertLoss(loss=EXPERT_LOSSES[0], num_experts=E)), logits(E * (C + 2))
    mean = score.view(len(LABEL), E, C + 2).mean(1)
    objectness = mean[:, C:].softmax(1)
    scores = loss.get_activation(score)
    torch.testing.assert_close(scores[:, :C], mean[:, :C].softmax(1) * objectness[:, :1])
    torch.testing.assert_close(scores.sum(1), torch.ones(len(LABEL)))


def test_loss_per_expert():
    losses = [dict(type='CrossEntropyLoss'), dict(type='ltmm.EQLLoss', lambda_=0.2)]
    losses.append(dict(type='SeesawLoss', num_classes=C))
    loss = ready(RoILossPerExpert(losses=losses))
    assert loss.widths == [C + 1, C, C + 2]
    score = logits(sum(loss.widths))
    terms = loss(score, LABEL, torch.ones(len(LABEL)), avg_factor=8.0)
    names = ['loss_cls_expert0', 'loss_cls_expert1', 'loss_cls_objectness_expert2', 'loss_cls_classes_expert2']
    assert sorted(terms) == sorted(names)
    torch.testing.assert_close(terms['loss_cls_expert0'], F.cross_entropy(score[:, : C + 1], LABEL) / 3)
    first = score[:, : C + 1].softmax(1)
    others = [part.get_activation(z) for part, z in zip(loss.losses[1:], loss.split(score)[1:])]
    torch.testing.assert_close(loss.get_activation(score), (first + others[0] + others[1]) / 3)
    assert loss.prior_probs == [None, 0.001, None]


def test_accuracy_counts_objects_only():
    loss = ready(RoILossPerExpert(losses=[dict(type='CrossEntropyLoss')]))
    score = torch.eye(C + 1)[torch.tensor([0, 1, 1, 0, 2])]
    assert loss.get_accuracy(score, torch.tensor([0, 1, 3, C, C]))['acc_classes'] == pytest.approx(200 / 3)


@pytest.mark.parametrize(
    'build, error, message',
    [
        (
            lambda: RoIExpertLoss(loss=dict(type='CrossEntropyLoss'), num_experts=E),
            TypeError,
            'accepts ExpertLoss',
        ),
        (
            lambda: RoIExpertLoss(loss=dict(type='ltmm.MDCSLoss'), num_experts=E),
            TypeError,
            'MDCSLoss needs several views',
        ),
        (
            lambda: RoIExpertLoss(loss=dict(type='ltmm.PerExpertLoss', loss=dict(type='ltmm.LDAMLoss')), num_experts=E),
            TypeError,
            'PerExpertLoss scales the cosines itself',
        ),
        (
            lambda: RoIExpertLoss(loss=EXPERT_LOSSES[0], num_experts=2),
            ValueError,
            'BalPoELoss is for 3 experts, but num_experts=2',
        ),
        (lambda: RoILossPerExpert(losses=[]), ValueError, 'got none'),
    ],
)
def test_bad_arguments(build, error, message):
    with pytest.raises(error, match=message):
        build()
