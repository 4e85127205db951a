import inspect
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ltmm.models.losses import (
    CCSAMFeatureLoss,
    CDTLoss,
    DeferredReweighting,
    LDAMLoss,
    LossInputs,
    MultiLabelFocalLoss,
    PerExpertLoss,
    ReweightedLoss,
    ROGLoss,
    RoIExpertLoss,
    RoILossPerExpert,
    SeesawLoss,
    SigmoidFocalLoss,
    SoftmaxFocalLoss,
)
from ltmm.models.losses.build import TorchCrossEntropy, build_loss
from ltmm.models.losses.detection import GAPLoss
from ltmm.models.losses.multi_label import ASLLoss, HeadTailBalancerLoss
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError, InputTypeError

COUNTS = [500, 60, 3]
SCORE, LABEL = torch.randn(8, 3), torch.tensor([0, 0, 0, 1, 1, 2, 2, 0])
LOGITS = torch.randn(2, 8, 3)
LDAM = dict(type='ltmm.LDAMLoss', class_counts=COUNTS)


def per_expert(loss):
    return PerExpertLoss(loss=loss)(LossInputs(LABEL, expert_logits=LOGITS))


def deferred_per_expert(loss):
    loss = DeferredReweighting(loss=loss, start_epoch=0, class_counts=COUNTS)
    loss.set_progress(0, 2)
    return loss(LossInputs(LABEL, expert_logits=LOGITS))


def feature_loss(loss):
    loss = CCSAMFeatureLoss(loss=loss, class_counts=COUNTS)
    loss.set_progress(0, 2)
    classifier = nn.Linear(3, 3)
    classifier.load_state_dict(dict(weight=torch.eye(3), bias=torch.zeros(3)))
    return loss(LossInputs(LABEL, cls_score=SCORE, features=SCORE, classifier=classifier))


def box_head(loss, *args):
    width = loss.get_cls_channels(3)
    return loss(torch.linspace(-1, 1, 8 * width).view(8, width), LABEL)


SEESAW = dict(type='ltmm.SeesawLoss', num_classes=3)
WRAPPED = {  # a function of the loss inside, and a config of that loss
    'ReweightedLoss': (lambda loss: ReweightedLoss(loss=loss, kind='inverse', class_counts=COUNTS)(SCORE, LABEL), LDAM),
    'PerExpertLoss': (per_expert, LDAM),
    'DeferredExpertReweighting': (deferred_per_expert, dict(type='ltmm.PerExpertLoss', loss=LDAM)),
    'CCSAMFeatureLoss': (feature_loss, LDAM),
    'ROGLoss': (lambda loss: box_head(ROGLoss(loss=loss)), SEESAW),
    'RoILossPerExpert': (lambda loss: box_head(RoILossPerExpert(losses=[loss])), SEESAW),
    'RoIExpertLoss': (
        lambda loss: box_head(RoIExpertLoss(loss=loss, num_experts=2)),
        dict(
            type='ltmm.RIDELoss', diversity_factor=-0.2, reweight_factor=0.02, reweight_epoch=None, class_counts=COUNTS
        ),
    ),
    'HeadTailBalancerLoss': (
        lambda loss: HeadTailBalancerLoss(loss=loss)(*torch.linspace(-1, 1, 72).view(3, 8, 3), F.one_hot(LABEL)),
        dict(type='ltmm.ASLLoss'),
    ),
}


@pytest.mark.parametrize('name', WRAPPED)
def test_module_inside_equals_its_config(name):
    value, cfg = WRAPPED[name]
    torch.testing.assert_close(value(MODELS.build(deepcopy(cfg))), value(cfg))


def test_ranking_loss_as_a_module():
    cfg = dict(type='ltmm.GAPLoss')
    values = [box_head(ROGLoss(loss=SEESAW, loss_rank=rank)) for rank in (cfg, GAPLoss(num_classes=3))]
    torch.testing.assert_close(*values)
    assert values[0]['loss_rank'] > 0


@pytest.mark.parametrize('smoothing', [0.0, 0.1])
def test_cross_entropy_of_torch_in_reweighted_loss(smoothing):
    inner = nn.CrossEntropyLoss(label_smoothing=smoothing)
    loss = ReweightedLoss(loss=inner, kind='inverse', normalize='batch_size', class_counts=COUNTS)
    weight = torch.tensor([1 / n for n in COUNTS])
    weight = weight * 3 / weight.sum()
    each = F.cross_entropy(SCORE, LABEL, reduction='none', label_smoothing=smoothing)
    torch.testing.assert_close(loss(SCORE, LABEL), (weight[LABEL] * each).mean())
    soft = F.one_hot(LABEL, 3).double()
    torch.testing.assert_close(loss(SCORE, soft), loss(SCORE, LABEL))


def test_cross_entropy_of_torch_keeps_its_reduction():
    loss = TorchCrossEntropy(nn.CrossEntropyLoss(reduction='sum'))
    torch.testing.assert_close(loss(SCORE, LABEL), F.cross_entropy(SCORE, LABEL, reduction='sum'))


class Halved(nn.CrossEntropyLoss):
    def forward(self, cls_score, label):
        return super().forward(cls_score, label) / 2


def test_invalid_inner_losses():
    for settings in (dict(weight=torch.ones(3)), dict(ignore_index=2)):
        with pytest.raises(InputError, match=r'nn.CrossEntropyLoss without `weight` and `ignore_index`'):
            build_loss(nn.CrossEntropyLoss(**settings))
    with pytest.raises(InputTypeError, match='needs a loss with a `weight` per sample, but got Halved'):
        ReweightedLoss(loss=Halved(), kind='inverse')
    with pytest.raises(
        InputTypeError, match=r"`loss` to be a module or a config, dict\(type=...\), but got 'ltmm.LDAM"
    ):
        ReweightedLoss(loss='ltmm.LDAMLoss', kind='inverse')
    with pytest.raises(InputTypeError, match='PerExpertLoss accepts ClassificationLoss, but got ASLLoss'):
        PerExpertLoss(loss=ASLLoss())
    with pytest.raises(InputTypeError, match='needs a loss with a `weight` per sample, but got MSELoss'):
        ReweightedLoss(loss=nn.MSELoss(), kind='inverse')
    with pytest.raises(InputTypeError, match='RoIExpertLoss accepts ExpertLoss, but got SeesawLoss'):
        RoIExpertLoss(loss=SeesawLoss(num_classes=3), num_experts=2)


@pytest.mark.parametrize(
    'loss, values',
    [
        (CDTLoss, dict(gamma=0.2)),
        (SigmoidFocalLoss, dict(gamma=2.0)),
        (SoftmaxFocalLoss, dict(gamma=1.0)),
        (MultiLabelFocalLoss, dict(gamma=2.0, balance=2.0)),
        (DeferredReweighting, dict(kind='effective_number')),
    ],
)
def test_values_of_the_papers_are_defaults(loss, values):
    parameters = inspect.signature(loss).parameters
    assert {name: parameters[name].default for name in values} == values


def test_deferred_reweighting_has_the_weights_of_its_paper():
    loss = DeferredReweighting(loss=LDAMLoss(class_counts=COUNTS), start_epoch=160, class_counts=COUNTS)
    n = torch.tensor(COUNTS).double()
    weight = (1 - 0.9999) / (1 - 0.9999**n)
    torch.testing.assert_close(loss.class_weight, weight * 3 / weight.sum())
