"""Two ranks learn as one process: ten steps from the same weights end at the same weights, for every loss."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from mmengine.dist import all_reduce
from mmpretrain.structures import DataSample
from toy_losses import prepare
from toy_ranks import on_ranks

import ltmm.models.losses as losses
from ltmm.models.layers import MetaEmbedding, TwoBranchLinear
from ltmm.models.losses import LossInputs
from ltmm.models.losses.base import divisor
from ltmm.registry import MODELS

C, D, EXPERTS, VIEWS, STEPS = 4, 6, 3, 2, 10
COUNTS = [500, 60, 20, 3]
ROWS = [(3, 5), (4, 4), (6, 1)]  # of both ranks, in turn
PROPOSALS = [(5, 7), (6, 6), (4, 0)]
CE = dict(type='mmpretrain.CrossEntropyLoss')
LDAM, SIGMOID = dict(type='ltmm.LDAMLoss'), dict(type='ltmm.SigmoidCrossEntropyLoss')
GML = dict(type='ltmm.GeometricMeanLoss')
RIDE = dict(diversity_factor=-0.2, reweight_factor=0.05, reweight_epoch=0, scale=2.0)
LGLA = dict(type='ltmm.LGLALoss', scale=4.0)  # of a linear layer: cosines beyond 1 are clamped
TLC = dict(type='ltmm.TLCLoss', reweight_factor=0.05, reweight_epoch=0, scale=2.0, kl_epochs=10, threshold=0.9)
DB = dict(type='ltmm.DistributionBalancedLoss')
DRW = dict(type='ltmm.DeferredReweighting', start_epoch=0, kind='inverse')
CLASSIFICATION = {
    'area': dict(type='ltmm.AREAReweighting', loss=CE, start_epoch=0),
    'asl_single_label': dict(type='ltmm.ASLSingleLabelLoss'),
    'balanced_bce': dict(type='ltmm.BalancedBCELoss', smoothing=0.1),
    'balanced_softmax': dict(type='ltmm.BalancedSoftmaxLoss'),
    'sum': dict(type='ltmm.BalancedSoftmaxLoss', reduction='sum'),
    'bayias': dict(type='ltmm.BayiasLoss', test_prior=[1, 2, 3, 4]),
    'cdt': dict(type='ltmm.CDTLoss', gamma=0.3),
    'class_balanced_bce': dict(type='ltmm.ClassBalancedBCELoss'),
    'class_balanced': dict(type='ltmm.ClassBalancedLoss', loss_type='focal', beta=0.99, gamma=0.5),
    'drw': dict(type='ltmm.DeferredReweighting', loss=LDAM, start_epoch=0, kind='effective_number', beta=0.99),
    'drw_before': dict(type='ltmm.DeferredReweighting', loss=LDAM, start_epoch=3, kind='inverse'),
    'label_aware_smoothing': dict(type='ltmm.LabelAwareSmoothingLoss', smooth_head=0.4, smooth_tail=0.1),
    'gml': dict(GML),
    'gml_p': dict(GML, p=2.0, tau=0.5),
    'ldam': dict(LDAM, scale=2.0),
    'logit_adjustment': dict(type='ltmm.LogitAdjustmentLoss'),
    'reweighted': dict(type='ltmm.ReweightedLoss', loss=LDAM, kind='inverse'),
    'reweighted_batch_size': dict(type='ltmm.ReweightedLoss', loss=LDAM, kind='inverse', normalize='batch_size'),
    'reweighted_ce': dict(type='ltmm.ReweightedLoss', loss=CE, kind='inverse'),
    'sigmoid_focal': dict(type='ltmm.SigmoidFocalLoss', gamma=2.0),
    'softmax_bce': dict(type='ltmm.SoftmaxBCELoss'),
    'softmax_eql': dict(type='ltmm.SoftmaxEQLLoss', lambda_=0.1, drop_prob=1.0),  # no draws
    'softmax_focal': dict(type='ltmm.SoftmaxFocalLoss', gamma=1.0),
    'vs': dict(type='ltmm.VSLoss', gamma=0.2, tau=1.2),
    'class_weight': dict(type='ltmm.SoftmaxFocalLoss', gamma=1.0, class_weight='auto'),
}
MULTI_LABEL = {
    'asl': dict(type='ltmm.ASLLoss'),
    'asl_mean': dict(type='ltmm.ASLLoss', reduction='mean'),
    'asl_batchmean': dict(type='ltmm.ASLLoss', reduction='batchmean'),
    'db': dict(DB, alpha=0.1, beta=10.0, mu=0.2, neg_scale=2.0, init_bias=0.05, focal_gamma=2.0, balance=2.0),
    'db_by_batch': dict(DB, alpha=0.1, beta=10.0, mu=0.2, weight_norm='by_batch'),
    'hill': dict(type='ltmm.HillLoss'),
    'k_positive': dict(type='ltmm.KPositiveCELoss'),
    'modifier': dict(type='ltmm.MultiFocalModifierLoss'),
    'bce': dict(type='ltmm.MultiLabelBCELoss'),
    'focal': dict(type='ltmm.MultiLabelFocalLoss', gamma=2.0, balance=2.0),
    'multi_label_ldam': dict(type='ltmm.MultiLabelLDAMLoss'),
    'partial_normalize': dict(type='ltmm.PartialASLLoss', mode='ignore_normalize'),
    'partial_selective': dict(type='ltmm.PartialASLLoss', mode='selective', topk=1),
    'corrector': dict(type='ltmm.ReflectiveLabelCorrectorLoss', start_epoch=0, threshold=0.5),
    'bce_class_weight': dict(type='ltmm.MultiLabelBCELoss', class_weight='auto'),
    'splc': dict(type='ltmm.SPLCLoss', start_epoch=0),
}
EXPERT = {
    'balpoe': dict(type='ltmm.BalPoELoss'),
    'lgla': LGLA,
    'mdcs': dict(type='ltmm.MDCSLoss'),
    'ncl': dict(type='ltmm.NCLLoss', num_hard=2),
    'ncl_plus': dict(type='ltmm.NCLPlusLoss', num_hard=2, num_views=VIEWS),
    'ride': dict(RIDE, type='ltmm.RIDELoss'),
    'ride_distill': dict(RIDE, type='ltmm.RIDEDistillLoss'),
    'sade': dict(type='ltmm.SADELoss'),
    'shike': dict(type='ltmm.SHIKELoss'),
    'per_expert': dict(type='ltmm.PerExpertLoss', loss=CE),
    'ldam_drw_per_expert': dict(DRW, loss=dict(type='ltmm.PerExpertLoss', loss=dict(LDAM, scale=2.0))),
    'drw_mdcs': dict(DRW, loss=dict(type='ltmm.MDCSLoss')),
    'reweighted_sade': dict(type='ltmm.ReweightedExpertLoss', loss=dict(type='ltmm.SADELoss'), kind='inverse'),
    'drw_shike': dict(DRW, loss=dict(type='ltmm.SHIKELoss'), normalize='batch_size'),
    'lgla_class_weight': dict(LGLA, class_weight='auto'),
    'tlc': dict(TLC),
    'mdcs_class_weight': dict(type='ltmm.MDCSLoss', class_weight='auto'),
    'ride_class_weight': dict(RIDE, type='ltmm.RIDELoss', class_weight='auto'),
    'tlc_class_weight': dict(TLC, class_weight='auto'),
}
DETECTION = {
    'bags': dict(type='ltmm.BalancedGroupSoftmaxLoss', group_bounds=(10, 100), beta=1e6),
    'drop': dict(type='ltmm.DropLoss', lambda_=1e-9),  # draws nothing without a tail
    'gol': dict(type='ltmm.DropLoss', lambda_=1e-9, activation='gumbel'),
    'gumbel': dict(type='ltmm.GumbelCrossEntropyLoss'),
    'efl': dict(type='ltmm.EqualizedFocalLoss'),
    'eqfl': dict(type='ltmm.EqualizedQualityFocalLoss'),
    'ecm': dict(type='ltmm.ECMLoss'),
    'eql': dict(type='ltmm.EQLLoss', lambda_=0.1),
    'eqlv2': dict(type='ltmm.EQLv2Loss'),
    'federated': dict(type='ltmm.FederatedLoss', num_sampled_classes=C + 1),  # all: each rank draws for itself
    'rog': dict(type='ltmm.ROGLoss', loss=SIGMOID, loss_rank=dict(type='ltmm.GAPLoss', loss_weight=1.0)),
    'rog_of_mmdet': dict(type='ltmm.ROGLoss', loss=dict(type='mmdet.CrossEntropyLoss')),
    'fcbl': dict(type='ltmm.FCBLLoss'),
    'roi_expert': dict(type='ltmm.RoIExpertLoss', loss=dict(type='ltmm.SADELoss'), num_experts=3),
    'roi_lgla': dict(type='ltmm.RoIExpertLoss', loss=LGLA, num_experts=3),
    'roi_ride': dict(type='ltmm.RoIExpertLoss', loss=dict(RIDE, type='ltmm.RIDELoss'), num_experts=3),
    'roi_drw': dict(type='ltmm.RoIExpertLoss', loss=dict(DRW, loss=dict(type='ltmm.SADELoss')), num_experts=3),
    'roi_tlc': dict(type='ltmm.RoIExpertLoss', loss=TLC, num_experts=3),
    'roi_per_expert': dict(type='ltmm.RoILossPerExpert', losses=[SIGMOID, dict(type='ltmm.EQLv2Loss')]),
    'seesaw': dict(type='ltmm.SeesawLoss'),
    'sigmoid': SIGMOID,
    'sigmoid_class_weight': dict(SIGMOID, class_weight='auto'),
    'seesaw_class_weight': dict(type='ltmm.SeesawLoss', class_weight=[0.5, 1.0, 2.0, 0.0]),
}
COMIC = dict(
    type='ltmm.COMICHead',
    num_classes=C,
    in_channels=D,
    corrector=dict(type='ltmm.ReflectiveLabelCorrectorLoss', threshold=0.5, loss_weight=0.2),
    attention=dict(type='ltmm.AdditiveAttention', hidden_features=3, dropout=0.0),
)
BALANCER = dict(type='ltmm.HeadTailBalancerLoss', loss=dict(type='ltmm.MultiFocalModifierLoss'))


MOMENTUM = dict(type='ltmm.MomentumContrastLoss', in_channels=D, feat_dim=5, queue_size=11)
SUPERVISED_CONTRAST = {
    'supcon': dict(type='ltmm.SupConLoss', in_channels=5, feat_dim=5),
    'kcl': dict(type='ltmm.KCLLoss', in_channels=5, feat_dim=5, num_positives=None),  # drawn per rank
    'sbcl': dict(type='ltmm.SubclassBalancedContrastiveLoss', in_channels=5, feat_dim=5, warmup_epochs=0),
}
CURVATURE = dict(type='ltmm.CurvatureLoss', in_channels=D, queue_size=60, k=3, dim=3, per_class=8)
CONSISTENCY = dict(type='ltmm.ViewConsistencyLoss', in_channels=D, feat_dim=5)


@dataclass
class Batch:
    """Inputs and labels of any task, of one rank or of both."""

    x: torch.Tensor  # (V, N, D)
    label: torch.Tensor  # (N,)
    box_label: torch.Tensor  # (N,), C is background
    weight: torch.Tensor  # (N,)
    target: torch.Tensor  # (N, C)

    @staticmethod
    def joined(batches: list) -> 'Batch':
        return Batch(*(torch.cat([vars(b)[n] for b in batches], dim=int(n == 'x')) for n in Batch.__dataclass_fields__))


def batches(step: int, sizes: list[tuple[int, int]]) -> list[Batch]:
    """Both halves of a batch."""
    generator = torch.Generator().manual_seed(step)
    draw = dict(generator=generator)
    return [
        Batch(
            torch.randn(VIEWS, n, D, dtype=torch.float64, **draw),
            torch.randint(C, (n,), **draw),
            torch.randint(C + 2, (n,), **draw).clamp(max=C) if rank or step % 3 else torch.full((n,), C),  # no objects
            (torch.rand(n, dtype=torch.float64, **draw) > 0.2).double(),
            torch.randint(-1, 2, (n, C), dtype=torch.float64, **draw),
        )
        for rank, n in enumerate(sizes[step % len(sizes)])
    ]


class Case(torch.nn.Module):
    """A linear model under a loss.

    Args:
        cfg: Config of the loss.
        call: Loss of a batch.
        width: Outputs of the model.
        sizes: Rows of both ranks.
    """

    def __init__(self, cfg: dict, call: Callable, width: int = C, sizes: list = ROWS):
        super().__init__()
        torch.manual_seed(0)
        self.loss, self.call, self.sizes = MODELS.build(cfg), call, sizes
        if sizes is PROPOSALS and hasattr(self.loss, 'get_cls_channels'):
            width = self.loss.get_cls_channels(C)
        self.model = torch.nn.Linear(D, width)
        together = np.full((C, C), 2)
        np.fill_diagonal(together, COUNTS)
        prepare(self, COUNTS, epoch=1, num_images=540, co_occurrence=together)

    def forward(self, batch: Batch) -> torch.Tensor:
        terms = self.call(self, batch)
        return sum(terms.values()) if isinstance(terms, dict) else terms


def classify(case: Case, batch: Batch) -> torch.Tensor:
    return case.loss(case.model(batch.x[0]), batch.label)


def classify_labels(case: Case, batch: Batch) -> torch.Tensor:
    target = batch.target if case.loss.accepts_unknown else batch.target.clamp(min=0)
    return case.loss(case.model(batch.x[0]), target)


def classify_by_experts(case: Case, batch: Batch) -> dict:
    x = batch.x[: case.loss.num_views].flatten(0, 1)
    logits = case.model(x).view(len(x), EXPERTS, C).transpose(0, 1)
    return case.loss(LossInputs(batch.label, logits.mean(0), expert_logits=logits, teacher_logits=x[:, :C]))


def route(case: Case, batch: Batch) -> dict:
    x = batch.x[0]
    logits, scores = batch.x[1].unflatten(1, (EXPERTS, 2)), case.model(x)  # of frozen experts
    return case.loss(LossInputs(batch.label % 2, expert_logits=logits.transpose(0, 1), router_logits=scores.T))


def classify_boxes(case: Case, batch: Batch) -> dict | torch.Tensor:
    score = case.model(batch.x[0])
    return case.loss(score, batch.box_label, batch.weight, avg_factor=batch.weight.sum().item())


def classify_embeddings(case: Case, batch: Batch) -> dict:
    features = case.model(batch.x[0])
    return case.loss(
        LossInputs(
            batch.box_label,
            case.classifier(features),
            features=features,
            classifier=case.classifier,
            weight=batch.weight,
            avg_factor=batch.weight.sum().item(),
            object_idx=torch.arange(len(features)).masked_fill(batch.box_label == C, -1),
        )
    )


def with_embedding(cfg: dict) -> Case:
    case = Case(cfg, classify_embeddings, D, PROPOSALS[:])
    case.classifier = torch.nn.Linear(D, case.loss.get_cls_channels(C))
    return case


def rank_boxes(case: Case, batch: Batch) -> torch.Tensor:
    return case.loss(case.model(batch.x[0]), batch.box_label, batch.weight)


def balance(case: Case, batch: Batch) -> torch.Tensor:
    return case.loss(*case.model(batch.x[0]).chunk(3, dim=1), batch.target)


def contrast(case: Case, batch: Batch) -> dict:
    features = case.model(batch.x.flatten(0, 1))
    return case.loss(LossInputs(batch.label, features=features, classifier=case.classifier))


def compare_views(case: Case, batch: Batch) -> dict:
    return case.loss(LossInputs(batch.label, features=case.model(batch.x.flatten(0, 1))))


def contrast_momentum(case: Case, batch: Batch) -> dict:
    features, keys = case.model(batch.x)
    return case.loss(LossInputs(batch.label, features=features, key_features=keys.detach()))


def contrast_classes(case: Case, batch: Batch) -> dict:
    views = case.model(batch.x)
    sample_idx = (1000 * batch.x[0, :, 0]).long() % sum(COUNTS)
    keys = None
    if 'key_features' in case.loss.requires:
        views, keys = views[:1], views[1].detach()
    return case.loss(LossInputs(batch.label, features=views.flatten(0, 1), key_features=keys, sample_idx=sample_idx))


@MODELS.register_module(force=True)
class LinearBackbone(torch.nn.Linear):
    """A linear layer as a backbone."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
        return (super().forward(x),)


def classify_with_keys(case: Case, batch: Batch) -> dict:
    samples = [DataSample().set_gt_label(label) for label in batch.label]
    return case.loss.loss(case.model(batch.x.flatten(0, 1)), samples)


def curve(case: Case, batch: Batch) -> dict:
    features = case.model(batch.x[0])
    main = features.square().sum() / divisor(len(features), features)
    scores = dict(cls_score=features[:, :C], loss=main)
    return dict(main=main, **case.loss(LossInputs(batch.label, features=features, **scores)))


def classify_features(case: Case, batch: Batch) -> dict:
    features = case.model(batch.x[0])
    score = case.classifier(features)
    return case.loss(
        LossInputs(batch.label, score, hard_label=batch.label, features=features, classifier=case.classifier)
    )


def learn_from_experts(case: Case, batch: Batch) -> dict:
    sample_idx = (1000 * batch.x[0, :, 0]).long() % sum(COUNTS)
    score, teacher = case.model(batch.x[0]), batch.x[1, :, :C]
    return case.loss(LossInputs(batch.label, score, sample_idx=sample_idx, teacher_logits=teacher))


def distill(case: Case, batch: Batch) -> torch.Tensor:
    return case.loss(case.model(batch.x[0]), batch.x[1, :, :C])


def distill_maps(case: Case, batch: Batch) -> torch.Tensor:
    x = batch.x[:, :, :, None, None].expand(-1, -1, -1, 5, 5)
    maps = case.model(x[0].transpose(1, 3)).transpose(1, 3)
    boxes = torch.tensor([0.1, 0.2, 0.7, 0.9]).expand(len(batch.label), 1, 4)
    return case.loss([maps], [x[1, :, :C]], list(boxes), list(batch.label.unsqueeze(1)))


def balanced_contrast() -> Case:
    case = Case(dict(type='ltmm.BalancedContrastiveLoss', in_channels=D, feat_dim=5, views=(0, 1)), contrast, D)
    for projector in (case.loss.projector, case.loss.prototype_projector):
        projector[1] = torch.nn.Identity()  # batch-norm is per rank unless cfg.sync_bn is set
    case.classifier = torch.nn.Linear(D, C)
    return case


def pull_to_centroids() -> Case:
    case = Case(dict(type='ltmm.DiscCentroidsLoss', loss_weight=1.0, repel_weight=1.0, margin=50.0), contrast, D)
    case.classifier = MetaEmbedding(D, C)
    return case


def cc_sam(**cfg) -> Case:
    case = Case(cfg, classify_features, D)
    case.classifier = torch.nn.Linear(D, C)
    return case


def classify_by_branches(case: Case, batch: Batch) -> dict:
    features = case.model(batch.x.flatten(0, 1))
    score = case.classifier(features)
    return case.loss(LossInputs(batch.label, score, features=features, classifier=case.classifier))


def cumulative() -> Case:
    case = Case(dict(type='ltmm.CumulativeLoss', tau=0.5), classify_by_branches, D)
    case.classifier = TwoBranchLinear(D, C)
    return case


def learn_from_unlabeled(case: Case, batch: Batch) -> dict:
    case.step = getattr(case, 'step', -1) + 1
    if hasattr(case.loss, 'set_progress'):
        case.loss.set_progress(0, 1, case.step, STEPS)
    features = case.model(batch.x)  # (V, N, D)
    score = case.classifier(features)
    inputs = LossInputs(
        batch.label,
        score[0],
        features=features[0],
        classifier=case.classifier,
        unlabeled_score=score,
        unlabeled_features=features,
        also_labeled=batch.weight == 0,
    )
    return case.loss(inputs)


def semi(**cfg) -> Case:
    case = Case(dict(cfg, threshold=0.4), learn_from_unlabeled, D)
    case.classifier = TwoBranchLinear(D, C)
    return case


def momentum_classifier() -> Case:
    head = dict(type='ltmm.LongTailClsHead', num_classes=C, in_channels=D, aux_losses=[dict(MOMENTUM, num_experts=1)])
    backbone = dict(type='ltmm.LinearBackbone', in_features=D, out_features=D)
    cfg = dict(type='ltmm.MomentumClassifier', momentum=0.9, backbone=backbone, head=head)
    return Case(cfg, classify_with_keys, D, ROWS[1:2])  # shuffling takes batches of the same size


def train_comic(case: Case, batch: Batch) -> dict:
    features = dict(zip(('head', 'tail', 'balanced'), case.model(batch.x[0]).chunk(3, dim=1)))
    samples = [DataSample().set_gt_score(target) for target in batch.target]
    return case.loss.loss({branch: (x,) for branch, x in features.items()}, samples)


def rows(table: dict, call: Callable, *args) -> dict[str, Callable[[], Case]]:
    return {name: lambda cfg=cfg: Case(cfg, call, *args) for name, cfg in table.items()}


def contrast_centers(case: Case, batch: Batch) -> dict:
    features, keys = case.model(batch.x)
    score = dict(cls_score=case.classifier(features))
    return case.loss(LossInputs(batch.label, **score, features=features, key_features=keys.detach()))


def contrast_centers_of_views(case: Case, batch: Batch) -> dict:
    features = case.model(batch.x.flatten(0, 1))
    return case.loss(LossInputs(batch.label, case.classifier(features), features=features))


def calibrate(case: Case, batch: Batch) -> dict:
    features = case.model(batch.x.flatten(0, 1))
    sample_idx = (1000 * batch.x[0, :, 0]).long() % sum(COUNTS)
    terms = case.loss(LossInputs(batch.label, features=features, sample_idx=sample_idx, classifier=case.classifier))
    return {name: term / 10 for name, term in terms.items()}


def rcal() -> Case:
    case = Case(dict(type='ltmm.RCALLoss', in_channels=5, restriction_weight=1.0), calibrate, 5)
    case.classifier = torch.nn.Linear(5, C)
    return case


def paco() -> Case:
    cfg = dict(type='ltmm.PaCoLoss', in_channels=D, feat_dim=5, queue_size=11)
    case = Case(cfg, contrast_centers, D, ROWS[:2])  # at least 2 on each rank
    case.loss.projector[1] = torch.nn.Identity()  # batch-norm is per rank unless cfg.sync_bn is set
    case.loss.key_projector.module[1] = torch.nn.BatchNorm1d(D, affine=False)  # that of the keys never is
    case.classifier = torch.nn.Linear(D, C)
    return case


def gpaco() -> Case:
    cfg = dict(type='ltmm.GPaCoLoss', in_channels=D, feat_dim=5, queue_size=11, smoothing=0.1)
    case = Case(cfg, contrast_centers_of_views, D)
    case.classifier = torch.nn.Linear(D, C)
    return case


CASES = {
    **rows(CLASSIFICATION, classify),
    **rows(MULTI_LABEL, classify_labels),
    **rows(EXPERT, classify_by_experts, EXPERTS * C),
    **rows(DETECTION, classify_boxes, C, PROPOSALS),
    'expert_routing': lambda: Case(dict(type='ltmm.ExpertRoutingLoss'), route, EXPERTS - 1),
    'gap': lambda: Case(dict(type='ltmm.GAPLoss', num_classes=C, loss_weight=1.0), rank_boxes, C, PROPOSALS),
    'loce': lambda: with_embedding(dict(type='ltmm.LOCELoss', feat_dim=D, num_memory_classes=2)),
    'bacl': lambda: with_embedding(dict(type='ltmm.BACLLoss', feat_dim=D, num_drawn_classes=2)),
    'balancer': lambda: Case(BALANCER, balance, 3 * C),
    'balanced_contrastive': balanced_contrast,
    'cc_sam': lambda: cc_sam(type='ltmm.CCSAMLoss', rho=0.5),
    'cc_sam_feature': lambda: cc_sam(type='ltmm.CCSAMFeatureLoss'),
    'curvature': lambda: Case(CURVATURE, curve, D),
    'disc_centroids': pull_to_centroids,
    'momentum_contrast': lambda: Case(dict(MOMENTUM, in_channels=3, num_experts=2), contrast_momentum, D),
    'momentum_classifier': momentum_classifier,
    'lfme': lambda: Case(dict(type='ltmm.LFMELoss'), learn_from_experts),
    **{
        f'{name}_{place}': lambda cfg=cfg, size=size: Case(dict(cfg, queue_size=size), contrast_classes, 5)
        for name, cfg in SUPERVISED_CONTRAST.items()
        for place, size in (('views', None), ('queue', 11))
    },
    'query_shared_kd': lambda: Case(dict(type='ltmm.QuerySharedKDLoss'), distill),
    'masked_feature': lambda: Case(dict(type='ltmm.MaskedFeatureLoss'), distill_maps),
    'comic': lambda: Case(COMIC, train_comic, 3 * D),
    'comic_irm': lambda: Case(dict(COMIC, attention=None, balancer=None, irm_weight=1.0), train_comic, 3 * D),
    'cumulative': cumulative,
    'view_consistency': lambda: Case(CONSISTENCY, compare_views, D),
    'rcal': rcal,
    'paco': paco,
    'gpaco': gpaco,
    'fixmatch': lambda: semi(type='ltmm.FixMatchLoss', unlabeled_weight=0.5),
    'simpro': lambda: semi(type='ltmm.SimProLoss', interval=3),
    'adello': lambda: semi(type='ltmm.ADELLOLoss', momentum=0.9),
    'acr': lambda: semi(type='ltmm.ACRLoss', interval=3, warmup=0),
    'acr_histogram': lambda: semi(type='ltmm.ACRLoss', interval=3, warmup=0, estimator='histogram'),
}
PER_RANK = {  # on each rank alone: as the mean of the losses of both halves
    'reweighted': lambda: Case(dict(CLASSIFICATION['reweighted'], per_rank=True), classify, C, ROWS[1:2]),
    'drw': lambda: Case(dict(CLASSIFICATION['drw'], per_rank=True), classify, C, ROWS[1:2]),
    'reweighted_ce': lambda: Case(dict(CLASSIFICATION['reweighted_ce'], per_rank=True), classify, C, ROWS[1:2]),
    'gml': lambda: Case(dict(GML, per_rank=True), classify, C, ROWS[1:2]),
    'drw_sade': lambda: Case(
        dict(DRW, loss=dict(type='ltmm.SADELoss'), per_rank=True), classify_by_experts, EXPERTS * C, ROWS[1:2]
    ),
    'gap': lambda: Case(  # gamma=0: the counts are of all ranks in any case
        dict(type='ltmm.GAPLoss', num_classes=C, loss_weight=1.0, gamma=0.0, per_rank=True), rank_boxes, C, PROPOSALS
    ),
}


def trained(build: Callable[[], Case], rank: int | None = None, halves: bool = False) -> dict[str, torch.Tensor]:
    """Return weights and state after the training: on one rank, or in one process on both halves, together or apart."""
    case = build().double()
    optimizer = torch.optim.SGD(case.parameters(), lr=0.02, momentum=0.9)
    for step in range(STEPS):
        parts = batches(step, case.sizes)
        parts = [parts[rank]] if rank is not None else parts if halves else [Batch.joined(parts)]
        optimizer.zero_grad()
        sum(case(part) for part in parts).div(len(parts)).backward()
        for parameter in case.parameters():  # as DDP does
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            all_reduce(parameter.grad, op='mean')
        optimizer.step()
    return {name: tensor.clone() for name, tensor in case.state_dict().items()}


def on_rank(rank: int) -> dict:
    return {
        (table, name): trained(build, rank)
        for table, builds in (('all', CASES), ('per_rank', PER_RANK))
        for name, build in builds.items()
    }


@pytest.fixture(scope='module')
def two_ranks(tmp_path_factory):
    CASES['rog_of_mmdet']()  # imports mmdet once, before the fork
    return on_ranks(on_rank, tmp_path_factory.mktemp('ranks'))


@pytest.mark.parametrize('name', CASES)
def test_two_ranks_equal_one_process(name, two_ranks):
    one, start = trained(CASES[name]), CASES[name]().double().state_dict()
    assert not torch.allclose(one['model.weight'], start['model.weight'], atol=1e-4)  # it has learned
    for rank in two_ranks:
        torch.testing.assert_close(rank['all', name], one, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('name', PER_RANK)
def test_per_rank_equals_the_mean_of_two_losses(name, two_ranks):
    one = trained(PER_RANK[name], halves=True)
    for rank in two_ranks:
        torch.testing.assert_close(rank['per_rank', name]['model.weight'], one['model.weight'], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(trained(PER_RANK[name])['model.weight'], one['model.weight'], atol=1e-4)


def test_every_registered_loss_is_here():
    tested = {type(build().loss).__name__ for build in CASES.values()}
    registered = {name for name, cls in MODELS.module_dict.items() if cls.__module__.startswith(losses.__name__)}
    assert tested >= registered
