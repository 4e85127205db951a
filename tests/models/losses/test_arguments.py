"""Constants that make no sense are refused when a loss is built, by their name."""

import inspect

import pytest

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

NAN, INF = float('nan'), float('inf')
BAD_WEIGHTS = dict(loss_weight=[-1.0, NAN, INF])
CE, SADE = dict(type='mmpretrain.CrossEntropyLoss'), dict(type='ltmm.SADELoss')
TLC = dict(reweight_factor=0.02, reweight_epoch=None, kl_epochs=10)
RIDE = dict(diversity_factor=-0.2, reweight_factor=0.02, reweight_epoch=None)
REBALANCE = dict(reweight='rebalance', alpha=0.1, beta=10.0, mu=0.2)
MODIFIER = dict(type='ltmm.MultiFocalModifierLoss')
LOSSES = [  # loss, arguments that make sense, values that do not
    ('BalancedBCELoss', dict(), dict(BAD_WEIGHTS, tau=[-1, NAN], smoothing=[1.0, -0.1])),
    ('BalancedSoftmaxLoss', dict(), dict(BAD_WEIGHTS, reduction=['average'], tau=[0, -1, NAN], smoothing=[1.0, -0.1])),
    ('ClassBalancedBCELoss', dict(), dict(BAD_WEIGHTS, beta=[1.0], smoothing=[1.0])),
    ('LogitAdjustmentLoss', dict(), dict(BAD_WEIGHTS, tau=[-0.1, INF, NAN])),
    ('CCSAMLoss', dict(), dict(rho=[-1, NAN], flat_ratio=[-0.1, 1.1])),
    ('CCSAMFeatureLoss', dict(), dict(step_size=[-1], max_ratio=[2], weight_divisor=[0])),
    ('CDTLoss', dict(gamma=0.3), dict(BAD_WEIGHTS, gamma=[-1])),
    ('VSLoss', dict(gamma=0.2, tau=1.2), dict(BAD_WEIGHTS, gamma=[-1], tau=[-1, NAN])),
    ('GeometricMeanLoss', dict(), dict(loss_weight=[-1.0, NAN], p=[0.5, INF], min_prob=[0, 1], tau=[-1])),
    ('LDAMLoss', dict(), dict(BAD_WEIGHTS, max_margin=[0, -1.0, INF, NAN], scale=[0, -1.0, INF, NAN])),
    ('ReweightedLoss', dict(loss=CE, kind='inverse'), dict(kind=['rare'], normalize=['sum'], power=[-1], beta=[0.9])),
    ('ReweightedLoss', dict(loss=CE, kind='sqrt_inverse'), dict(power=[1])),
    ('ReweightedLoss', dict(loss=CE, kind='effective_number', beta=0.9), dict(beta=[None, 1.0])),
    ('DeferredReweighting', dict(loss=CE, kind='inverse', start_epoch=2), dict(start_epoch=[-1, 1.5, True, None])),
    ('ClassBalancedLoss', dict(loss_type='softmax', beta=0.9), dict(BAD_WEIGHTS, beta=[1.5], gamma=[1.0])),
    ('ClassBalancedLoss', dict(loss_type='sigmoid', beta=0.9), dict(BAD_WEIGHTS, loss_type=['hinge'])),
    ('ClassBalancedLoss', dict(loss_type='focal', beta=0.9, gamma=2), dict(BAD_WEIGHTS, gamma=[None, -1.0])),
    ('SoftmaxFocalLoss', dict(gamma=2), dict(BAD_WEIGHTS, gamma=[-1])),
    ('SigmoidFocalLoss', dict(gamma=2), dict(BAD_WEIGHTS, gamma=[NAN])),
    ('SoftmaxEQLLoss', dict(lambda_=0.1), dict(BAD_WEIGHTS, lambda_=[0, NAN], drop_prob=[-0.1, 1.1])),
    ('SoftmaxBCELoss', dict(), BAD_WEIGHTS),
    ('ASLSingleLabelLoss', dict(), dict(BAD_WEIGHTS, smoothing=[1], gamma_neg=[-1])),
    ('RIDELoss', RIDE, dict(max_margin=[0], scale=[-1], reweight_factor=[1], beta=[1.5], diversity_factor=[NAN])),
    ('RIDELoss', RIDE, dict(reweight_epoch=[1.5, True, -1])),
    ('RIDEDistillLoss', RIDE, dict(distill_temperature=[0], distill_weight=[-1, NAN])),
    ('SADELoss', dict(), dict(tau=[-1])),
    ('BalPoELoss', dict(), dict(taus=[[], [1.0, NAN]])),
    ('ExpertRoutingLoss', dict(), dict(pos_weight=[0, NAN])),
    ('LGLALoss', dict(), dict(num_experts=[1, 2.5], tau=[-1, NAN], scale=[0])),
    ('LFMELoss', dict(), dict(temperature=[0], threshold=[1, NAN], lowest_weights=[(1, 1), (2, 1, 1)])),
    ('TLCLoss', TLC, dict(kl_epochs=[0, 1.5], threshold=[1, -0.1], diversity_factor=[NAN])),
    ('MDCSLoss', dict(), dict(powers=[()], consistency_weight=[-1], ramp_epochs=[0])),
    ('SHIKELoss', dict(), dict(hard_weight=[-1], mutual_weight=[NAN], target_fill=[INF])),
    ('ReweightedExpertLoss', dict(loss=SADE, kind='inverse'), dict(kind=['rare'], normalize=['sum'])),
    ('DeferredReweighting', dict(loss=SADE, kind='inverse', start_epoch=2), dict(start_epoch=[-1])),
    ('NCLLoss', dict(num_hard=2), dict(num_hard=[0, 1.5], ce_weight=[-1], hard_weight=[NAN], mask_value=[-INF])),
    ('NCLLoss', dict(num_hard=2, class_counts=[3, 2]), dict(num_hard=[3], distill_weight=[-1])),
    ('NCLLoss', dict(num_hard=2), dict(hard_distill_weight=[-1, INF])),
    ('NCLPlusLoss', dict(num_hard=2), dict(num_views=[0], distill_weight=[-1])),
    ('MomentumContrastLoss', dict(in_channels=6), dict(temperature=[0], feat_dim=[0])),
    ('MomentumContrastLoss', dict(in_channels=6), dict(in_channels=[0, 2.5], num_experts=[0])),
    ('CumulativeLoss', dict(), dict(power=[-1, NAN], tau=[-1, INF])),
    ('ViewConsistencyLoss', dict(in_channels=6), dict(in_channels=[0], feat_dim=[0, 1.5])),
    ('SimProLoss', dict(), dict(threshold=[-0.1, 1.1, NAN], tau=[-1, INF], labeled_weight=[-1, NAN])),
    ('SimProLoss', dict(), dict(momentum=[-0.1, 1.5], interval=[0, 1.5])),
    ('ADELLOLoss', dict(), dict(threshold=[1.1], alpha_min=[-0.1, 1.1], power=[0, NAN], momentum=[1.5])),
    ('ADELLOLoss', dict(), dict(ccr_start=[-0.1, 1.1], ccr_weight=[-1, INF])),
    ('SupConLoss', dict(in_channels=6), dict(temperature=[0, NAN], base_temperature=[0], in_channels=[0])),
    ('KCLLoss', dict(in_channels=6), dict(num_positives=[0, 1.5], temperature=[0], queue_size=[0], feat_dim=[0])),
    ('SubclassBalancedContrastiveLoss', dict(in_channels=6), dict(temperature=[0], base_temperature=[0])),
    ('SubclassBalancedContrastiveLoss', dict(in_channels=6), dict(class_temperature=[0], class_term=['rank'])),
    ('SubclassBalancedContrastiveLoss', dict(in_channels=6), dict(class_term_weight=[-1], warmup_epochs=[-1, 0.5])),
    ('SubclassBalancedContrastiveLoss', dict(in_channels=6), dict(interval=[0], min_size=[0], method=['spectral'])),
    ('RCALLoss', dict(in_channels=6), dict(in_channels=[0], num_neighbors=[0], min_size=[1, 2.5], num_heads=[0])),
    ('RCALLoss', dict(in_channels=6), dict(head_classes=['few', 0, [-1]], gamma=[-0.1, 1.1], alpha=[-1, NAN])),
    ('RCALLoss', dict(in_channels=6), dict(dispersion=['diagonal'], transfer_weight=['distance'], per_class=[0])),
    ('RCALLoss', dict(in_channels=6), dict(sample_weight=[-1, NAN], restriction_weight=[-1, INF])),
    ('SigmoidCrossEntropyLoss', dict(), BAD_WEIGHTS),
    ('BalancedGroupSoftmaxLoss', dict(), dict(BAD_WEIGHTS, beta=[0, NAN], group_bounds=[[], [1.5], [0], [9, 9]])),
    ('DropLoss', dict(lambda_=0.1), dict(BAD_WEIGHTS, lambda_=[0], activation=['softmax'])),
    ('GumbelCrossEntropyLoss', dict(), dict(BAD_WEIGHTS, max_loss=[0, NAN])),
    ('EqualizedFocalLoss', dict(), dict(BAD_WEIGHTS, gamma=[0.5, NAN], scale=[-1], alpha=[-1, 2])),
    ('EqualizedQualityFocalLoss', dict(), dict(gamma=[0.5], scale=[-1, INF])),
    ('ECMLoss', dict(), dict(BAD_WEIGHTS, background_ratio=[0, NAN])),
    ('EQLLoss', dict(lambda_=0.1), dict(BAD_WEIGHTS, lambda_=[0, NAN], by=['images'])),
    ('EQLv2Loss', dict(), dict(BAD_WEIGHTS, gamma=[0, NAN], mu=[NAN], alpha=[-1, NAN])),
    (
        'FederatedLoss',
        dict(),
        dict(BAD_WEIGHTS, num_sampled_classes=[0, 1.5], power=[-1, NAN], gamma=[-1], alpha=[0, 1]),
    ),
    ('SeesawLoss', dict(), dict(BAD_WEIGHTS, p=[-1, NAN], q=[INF, -0.5], eps=[0])),
    (
        'LOCELoss',
        dict(feat_dim=4),
        dict(loss_weight=[-1, NAN], momentum=[0, 1.5], background_score=[0, NAN], feat_dim=[0]),
    ),
    ('LOCELoss', dict(feat_dim=4), dict(memory_size=[0], num_memory_classes=[-1, 0.5], num_memory_features=[0])),
    ('FCBLLoss', dict(), dict(BAD_WEIGHTS, alpha=[-1, NAN], prob_thr=[-0.1, 2], reweight_epoch=[-1, 1.5])),
    ('BACLLoss', dict(feat_dim=4), dict(loss_weight=[-1], feat_dim=[0], momentum=[0], alpha=[-1], prob_thr=[2])),
    ('BACLLoss', dict(feat_dim=4), dict(num_drawn_classes=[-1, 0.5], num_drawn_features=[0], reweight_epoch=[-1])),
    ('GAPLoss', dict(num_classes=3), dict(BAD_WEIGHTS, num_classes=[0], delta=[0], gamma=[-1])),
    ('CurvatureLoss', dict(in_channels=6), dict(k=[0, 1.5], dim=[1], per_class=[0], tau=[1, NAN, INF], eps=[0])),
    ('MaskedFeatureLoss', dict(loss_weight=1), BAD_WEIGHTS),
    ('QuerySharedKDLoss', dict(loss_weight=1), BAD_WEIGHTS),
    ('MultiLabelBCELoss', dict(), dict(BAD_WEIGHTS, reduction=['avg'])),
    ('MultiLabelFocalLoss', dict(gamma=1, balance=1), dict(gamma=[-1], balance=[0])),
    ('MultiLabelLDAMLoss', dict(), dict(max_margin=[0, NAN])),
    ('ASLLoss', dict(), dict(clip=[1], gamma_neg=[-1], eps=[0])),
    ('HillLoss', dict(), dict(margin=[NAN], gamma=[-1], lambda_=[0.5])),
    ('SPLCLoss', dict(), dict(margin=[-1], tau=[1])),
    ('PartialASLLoss', dict(mode='selective', topk=1), dict(mode=['drop'], topk=[None], prior_threshold=[2])),
    ('PartialASLLoss', dict(mode='ignore'), dict(topk=[2])),
    ('DistributionBalancedLoss', REBALANCE, dict(alpha=[None], mu=[NAN], reweight=['RW'], balance=[2.0])),
    ('DistributionBalancedLoss', dict(REBALANCE, focal_gamma=2.0, balance=2.0), dict(balance=[-2], neg_scale=[0])),
    ('DistributionBalancedLoss', dict(reweight='CB', cb_beta=0.9, cb_mode='min_n'), dict(cb_mode=[None, 'mean'])),
    ('DistributionBalancedLoss', dict(reweight='CB', cb_beta=0.9, cb_mode='min_n'), dict(cb_beta=[1.0])),
    ('DistributionBalancedLoss', dict(reweight='inv'), dict(mu=[0.2])),
    ('DistributionBalancedLoss', dict(reweight=None), dict(weight_norm=['by_batch'])),
    ('MultiFocalModifierLoss', dict(), dict(form=['posterior'], clip=[1.0], boost=[0.5, NAN], gamma_neg=[-5])),
    ('MultiFocalModifierLoss', dict(), dict(weight_exponent=[-1], eps=[0], co_occurrence=[[[1, 2]]])),
    ('MultiFocalModifierLoss', dict(form='multi_grained'), dict(co_occurrence=[[[1]]])),
    ('MultiFocalModifierLoss', dict(class_counts=[2, 1]), dict(co_occurrence=[[[1]]])),
    ('ReflectiveLabelCorrectorLoss', dict(), dict(threshold=[1.0], clip=[-0.1], margin=[NAN], gamma_neg=[-5])),
    ('ReflectiveLabelCorrectorLoss', dict(), dict(batch_size=[-1], start_epoch=[1.5])),
    ('HeadTailBalancerLoss', dict(loss=MODIFIER), dict(loss_weight=[-1.0], gamma=[-1.0])),
    ('HeadTailBalancerLoss', dict(loss=MODIFIER), dict(loss=[dict(MODIFIER, reduction='none')])),
    ('PaCoLoss', dict(in_channels=6), dict(in_channels=[0], temperature=[0], alpha=[-1], beta=[0], gamma=[-1])),
    ('PaCoLoss', dict(in_channels=6), dict(self_weight=[-1, NAN], feat_dim=[0])),
    ('GPaCoLoss', dict(in_channels=6), dict(smoothing=[-0.1, 1])),
]
CASES = [(loss, good, name, value) for loss, good, bad in LOSSES for name, values in bad.items() for value in values]


@pytest.mark.parametrize('loss, good, name, value', CASES, ids=[f'{loss}-{name}={v}' for loss, _, name, v in CASES])
def test_bad_argument(loss, good, name, value):
    MODELS.build(dict(good, type=f'ltmm.{loss}'))
    with pytest.raises(InputError, match=f'`{name}`'):
        MODELS.build({**good, 'type': f'ltmm.{loss}', name: value})


def test_exponential_overflow_of_seesaw():
    with pytest.raises(ValueError, match='q=20 and eps=0.01'):
        MODELS.build(dict(type='ltmm.SeesawLoss', q=20, eps=0.01))


def test_arguments_are_keyword_only():
    for cls in MODELS.module_dict.values():
        if cls.__module__.startswith('ltmm.models.losses.'):
            kinds = {p.kind for p in inspect.signature(cls).parameters.values()}
            assert not kinds & {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}, cls
    with pytest.raises(TypeError, match='positional'):
        MODELS.get('ltmm.BalancedSoftmaxLoss')([90, 9, 3])  # counts, where the first argument is loss_weight
