"""``torch.compile(fullgraph=True)`` accepts every registered loss; its value and gradient stay the same."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from toy_losses import train_features

import ltmm.models.losses as losses
from ltmm import ClassDistribution
from ltmm.models.layers import MetaEmbedding, TwoBranchLinear
from ltmm.models.losses import LossInputs
from ltmm.models.state import UsesTrainFeatures
from ltmm.registry import MODELS

COUNTS, LABEL, BOX_LABEL = [500, 60, 20, 3], torch.tensor([0, 1, 3, 3, 2]), torch.tensor([0, 4, 1, 3, 4])
TARGET = torch.tensor([[1, -1, 0, 0], [1, 1, 0, 0], [-1, 0, 0, 0], [0, 1, 1, 1], [1, 1, 1, 1]])
CE = dict(type='mmpretrain.CrossEntropyLoss')
CLASSIFICATION = [
    dict(type='AREAReweighting', loss=CE, start_epoch=0),
    dict(type='ASLSingleLabelLoss'),
    dict(type='BalancedBCELoss', smoothing=0.1),
    dict(type='BalancedSoftmaxLoss'),
    dict(type='BayiasLoss'),
    dict(type='CDTLoss', gamma=0.3),
    dict(type='SoftmaxEQLLoss', lambda_=0.1, drop_prob=1.0),
    dict(type='ClassBalancedBCELoss'),
    dict(type='ClassBalancedLoss', loss_type='focal', beta=0.99, gamma=0.5),
    dict(type='DeferredReweighting', loss=dict(type='ltmm.LDAMLoss'), start_epoch=0, kind='inverse'),
    dict(type='GeometricMeanLoss'),
    dict(type='GeometricMeanLoss', p=2.0),
    dict(type='LDAMLoss'),
    dict(type='LabelAwareSmoothingLoss', smooth_head=0.4, smooth_tail=0.1),
    dict(type='LogitAdjustmentLoss'),
    dict(type='ReweightedLoss', loss=CE, kind='inverse'),
    dict(type='SigmoidFocalLoss', gamma=2.0),
    dict(type='SoftmaxBCELoss'),
    dict(type='SoftmaxFocalLoss', gamma=1.0),
    dict(type='VSLoss', gamma=0.2, tau=1.2),
    dict(type='VSLoss', gamma=0.2, tau=1.2, class_weight='auto'),
]
MULTI_LABEL = [
    dict(type='ASLLoss'),
    dict(type='ASLLoss', gamma_pos=1.0, clip=0.0, detach_focus=False),
    dict(type='DistributionBalancedLoss', alpha=0.1, beta=10.0, mu=0.2, neg_scale=2.0, init_bias=0.05, focal_gamma=2.0)
    | dict(balance=2.0),
    *(
        dict(type='DistributionBalancedLoss', reweight='CB', cb_beta=0.9, cb_mode=mode)
        for mode in ('by_class', 'average_n', 'average_w', 'min_n')
    ),
    dict(type='HillLoss'),
    dict(type='HillLoss', gamma=1.0),
    dict(type='KPositiveCELoss'),
    dict(type='MultiFocalModifierLoss'),
    dict(type='MultiFocalModifierLoss', form='multi_grained'),
    dict(type='MultiLabelBCELoss'),
    dict(type='MultiLabelFocalLoss', gamma=2.0, balance=2.0),
    dict(type='MultiLabelLDAMLoss'),
    *(dict(type='PartialASLLoss', mode=mode) for mode in ('negative', 'ignore', 'ignore_normalize')),
    dict(type='PartialASLLoss', mode='selective', topk=1, prior_threshold=0.5),
    dict(type='ReflectiveLabelCorrectorLoss', start_epoch=0),
    dict(type='SPLCLoss', start_epoch=0),
]
EXPERT = [
    dict(type='BalPoELoss'),
    dict(type='ExpertRoutingLoss'),
    dict(type='LGLALoss'),
    dict(type='MDCSLoss'),
    dict(type='NCLLoss', num_hard=2),
    dict(type='NCLPlusLoss', num_hard=2, num_views=2),
    dict(type='RIDEDistillLoss', diversity_factor=-0.2, reweight_factor=0.05, reweight_epoch=0),
    dict(type='RIDELoss', diversity_factor=-0.2, reweight_factor=0.05, reweight_epoch=0),
    dict(type='SADELoss'),
    dict(type='SHIKELoss'),
    dict(type='PerExpertLoss', loss=CE),
    dict(type='PerExpertLoss', loss=dict(type='ltmm.LDAMLoss'), class_weight='auto'),
    dict(type='DeferredExpertReweighting', loss=dict(type='ltmm.SHIKELoss'), start_epoch=0, kind='inverse'),
    dict(type='ReweightedExpertLoss', loss=dict(type='ltmm.MDCSLoss'), kind='inverse'),
    dict(type='TLCLoss', reweight_factor=0.05, reweight_epoch=0, kl_epochs=10),
]
SIGMOID = dict(type='ltmm.SigmoidCrossEntropyLoss')
DETECTION = [
    dict(type='BalancedGroupSoftmaxLoss', group_bounds=(10, 100), beta=1e6),
    dict(type='DropLoss', lambda_=1e-9),
    dict(type='DropLoss', lambda_=1e-9, activation='gumbel'),
    dict(type='GumbelCrossEntropyLoss'),
    dict(type='EqualizedFocalLoss'),
    dict(type='EqualizedQualityFocalLoss'),
    dict(type='ECMLoss'),
    dict(type='EQLLoss', lambda_=0.1),
    dict(type='EQLv2Loss'),
    dict(type='FCBLLoss'),
    dict(type='FederatedLoss', num_sampled_classes=4),
    dict(type='ROGLoss', loss=SIGMOID),
    dict(type='RoIExpertLoss', loss=dict(type='ltmm.SADELoss'), num_experts=3),
    dict(type='RoIExpertLoss', loss=dict(type='ltmm.LGLALoss'), num_experts=3),
    dict(type='RoILossPerExpert', losses=[SIGMOID, dict(type='ltmm.EQLv2Loss')]),
    dict(type='SeesawLoss'),
    dict(type='SigmoidCrossEntropyLoss', class_weight='auto'),
    dict(type='SigmoidCrossEntropyLoss'),
]


FEATURE = [
    dict(type='BalancedContrastiveLoss', in_channels=6, feat_dim=5, views=[0, 1]),
    dict(type='CCSAMFeatureLoss'),
    dict(type='CCSAMLoss', rho=0.5),
    dict(type='CurvatureLoss', in_channels=6, queue_size=20, k=1, dim=2, per_class=4),
    dict(type='DiscCentroidsLoss'),
    dict(type='CumulativeLoss', tau=0.5),
    dict(type='ViewConsistencyLoss', in_channels=6, feat_dim=5),
    dict(type='GPaCoLoss', in_channels=6, feat_dim=5, queue_size=20),
    dict(type='KCLLoss', in_channels=6, num_positives=None),  # draws of two runs differ
    dict(type='SupConLoss', in_channels=6),
]
SEMI = [
    dict(type='ACRLoss', threshold=0.4, interval=1, warmup=0),
    dict(type='ACRLoss', threshold=0.4, interval=1, warmup=0, estimator='histogram'),
    dict(type='FixMatchLoss', threshold=0.4),
    dict(type='SimProLoss', threshold=0.4, interval=1),
    dict(type='ADELLOLoss', threshold=0.4, ccr_start=0),
]
BOX_OBJECTIVES = [
    dict(type='BACLLoss', feat_dim=6, num_drawn_classes=0),  # drawn features are other ones in each call
    dict(type='LOCELoss', feat_dim=6, num_memory_classes=0),
]
OTHERS = {
    'GAPLoss',
    'HeadTailBalancerLoss',
    'LFMELoss',
    'MaskedFeatureLoss',
    'MomentumContrastLoss',
    'PaCoLoss',
    'QuerySharedKDLoss',
    'RCALLoss',
    'SubclassBalancedContrastiveLoss',
}
SELECTS_OBJECTS = {'GAPLoss', 'ROGLoss', 'RoIExpertLoss'}  # their number is known only at run time, so two graphs


def build(cfg: dict) -> nn.Module:
    """Build the loss with the class distribution and the progress it needs."""
    torch.manual_seed(0)
    loss = MODELS.build(dict(cfg, type=f'ltmm.{cfg["type"]}'))
    co_occurrence = np.full((4, 4), 2)
    np.fill_diagonal(co_occurrence, COUNTS)
    distribution = ClassDistribution(COUNTS, num_images=540, co_occurrence=co_occurrence)
    for module in loss.modules():
        if hasattr(module, 'set_class_distribution'):
            module.set_class_distribution(distribution)
        if hasattr(module, 'set_progress'):
            module.set_progress(1, 4, 1, 4)
        if isinstance(module, UsesTrainFeatures):
            module.on_train_features(train_features(COUNTS))
    if cfg in DETECTION:
        loss.get_cls_channels(4)
    return loss


def check_compiled(cfg: dict, call: Callable, inputs: Tensor, fullgraph: bool = True) -> None:
    """Compare value and gradient of ``call(loss, inputs)`` with those of the compiled function, in training mode."""
    torch._dynamo.reset()
    results = []
    for function in (call, torch.compile(call, backend='eager', fullgraph=fullgraph)):
        inputs = inputs.detach().clone().requires_grad_()
        value = function(build(cfg), inputs)
        value = sum(value.values()) if isinstance(value, dict) else value
        results.append((value.detach(), torch.autograd.grad(value, inputs)[0]))
    torch.testing.assert_close(results[1], results[0])


def each(*configs: dict) -> pytest.MarkDecorator:
    names = ['-'.join(value for value in cfg.values() if isinstance(value, str)) for cfg in configs]
    return pytest.mark.parametrize('cfg', configs, ids=names)


@each(*CLASSIFICATION)
def test_classification(cfg):
    check_compiled(cfg, lambda loss, score: loss(score, LABEL), torch.randn(5, 4))


@each(*MULTI_LABEL)
def test_multi_label(cfg):
    target = TARGET if build(cfg).accepts_unknown else TARGET.clamp(min=0)
    check_compiled(cfg, lambda loss, score: loss(score, target), torch.randn(5, 4))


@each(*EXPERT)
def test_expert(cfg):
    loss = build(cfg)
    views, num_experts = (loss.num_views, loss.num_experts or 3) if isinstance(loss, losses.ExpertLoss) else (1, 3)
    rows = views * len(LABEL)

    def call(loss, logits):
        others = dict(teacher_logits=torch.ones(rows, 4), router_logits=logits[:-1, :, 0])
        return loss(LossInputs(LABEL, logits.mean(0), expert_logits=logits, **others))

    check_compiled(cfg, call, torch.randn(num_experts, rows, 4))


@each(*DETECTION)
def test_detection(cfg):
    width = build(cfg).get_cls_channels(4)
    fullgraph = cfg['type'] not in SELECTS_OBJECTS
    check_compiled(cfg, lambda loss, score: loss(score, BOX_LABEL), torch.randn(5, width), fullgraph)


@each(*FEATURE)
def test_feature(cfg):
    layers = dict(DiscCentroidsLoss=MetaEmbedding, CumulativeLoss=TwoBranchLinear)
    classifier = layers.get(cfg['type'], nn.Linear)(6, 4)

    def call(loss, features):
        inputs = dict(cls_score=classifier(features), hard_label=LABEL, loss=torch.tensor(1.0))
        return loss(LossInputs(label=LABEL, features=features, classifier=classifier, **inputs))

    check_compiled(cfg, call, torch.randn(10, 6))


@each(*SEMI)
def test_semi_supervised(cfg):
    classifier = TwoBranchLinear(6, 4)

    def call(loss, features):
        scores = classifier(features)  # (W, M, C)
        unlabeled = dict(unlabeled_score=scores, unlabeled_features=features, also_labeled=LABEL == 3)
        terms = loss(LossInputs(LABEL, scores[0], features=features[0], classifier=classifier, **unlabeled))
        return {name: value for name, value in terms.items() if 'loss' in name}

    check_compiled(cfg, call, 2 * torch.randn(3, 5, 6))


def test_momentum_contrast():
    def call(loss, features):
        for _ in range(2):  # in the first call the queue is empty
            terms = loss(LossInputs(label=LABEL, features=features, key_features=features.detach()))
        return terms

    cfg = dict(type='MomentumContrastLoss', in_channels=3, num_experts=2, feat_dim=4, queue_size=8)
    check_compiled(cfg, call, torch.randn(5, 6))


@pytest.mark.parametrize('queue_size', [None, 8])
def test_subclass_balanced_contrast(queue_size):
    views = 1 if queue_size else 2

    def call(loss, features):
        keys = features.detach() if queue_size else None
        return loss(LossInputs(LABEL, features=features, key_features=keys, sample_idx=torch.arange(5)))

    cfg = dict(type='SubclassBalancedContrastiveLoss', in_channels=5, warmup_epochs=0, queue_size=queue_size)
    check_compiled(cfg, call, torch.randn(views * 5, 5))


def test_rcal():
    classifier = nn.Linear(5, 4)

    def call(loss, features):
        return loss(LossInputs(LABEL, features=features, sample_idx=torch.arange(5), classifier=classifier))

    check_compiled(dict(type='RCALLoss', in_channels=5), call, torch.randn(10, 5))


def test_head_tail_balancer():
    cfg = dict(type='HeadTailBalancerLoss', loss=dict(type='ltmm.MultiFocalModifierLoss'))
    check_compiled(cfg, lambda loss, scores: loss(*scores, TARGET), torch.randn(3, 5, 4))


def test_lfme():
    inputs = dict(label=LABEL, sample_idx=torch.arange(5), teacher_logits=torch.randn(5, 4))
    check_compiled(
        dict(type='LFMELoss'), lambda loss, score: loss(LossInputs(cls_score=score, **inputs)), torch.randn(5, 4)
    )


def test_query_shared_kd():
    teacher = torch.randn(5, 4)
    check_compiled(dict(type='QuerySharedKDLoss'), lambda loss, score: loss(score, teacher), torch.randn(5, 4))


def test_masked_feature():
    teacher, boxes, labels = torch.randn(1, 3, 6, 6), [torch.tensor([[0.1, 0.2, 0.7, 0.9]])], [torch.tensor([0])]

    def call(loss, feature):
        return loss([feature], [teacher], boxes, labels)

    check_compiled(dict(type='MaskedFeatureLoss'), call, torch.randn(1, 3, 6, 6), fullgraph=False)


@each(*BOX_OBJECTIVES)
def test_box_head_objective(cfg):
    classifier = nn.Linear(6, 5)
    label, object_idx = torch.tensor([0, 1, 3, 3, 4]), torch.tensor([0, 1, 2, 2, -1])

    def call(loss, features):
        loss.get_cls_channels(4)
        given = dict(
            features=features, classifier=classifier, weight=torch.ones(5), avg_factor=5, object_idx=object_idx
        )
        return loss(LossInputs(label, classifier(features), **given))

    check_compiled(cfg, call, torch.randn(5, 6), fullgraph=False)  # the number of objects is known at run time only


def test_every_registered_loss_is_here():
    parts = (CLASSIFICATION, MULTI_LABEL, EXPERT, DETECTION, FEATURE, SEMI, BOX_OBJECTIVES)
    tested = {cfg['type'] for part in parts for cfg in part} | OTHERS
    registered = {name for name, cls in MODELS.module_dict.items() if cls.__module__.startswith(losses.__name__)}
    assert tested >= registered


def test_paco():
    def call(loss, features):
        for _ in range(2):  # in the first call the queue is empty
            keys = dict(features=features, key_features=features.detach())
            terms = loss(LossInputs(label=LABEL, cls_score=features[:, :4], **keys))
        return terms

    check_compiled(dict(type='PaCoLoss', in_channels=6, feat_dim=5, queue_size=8), call, torch.randn(5, 6))
