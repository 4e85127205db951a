import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmpretrain.structures import DataSample

from ltmm import ClassDistribution
from ltmm.registry import MODELS

CO_OCCURRENCE = [[40, 10, 2], [10, 12, 0], [2, 0, 5]]
IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0], [-1, 1, -1]])
TERMS = {f'{branch}_loss_{term}' for branch in ('head', 'tail', 'balanced') for term in ('modifier', 'corrector')}


def config(head: dict | None = None, **options) -> dict:
    return dict(
        type='ltmm.COMIC',
        backbone=dict(type='ltmm.ResNetCIFAR', depth=8, channels=(4, 4, 8)),
        neck=dict(type='ltmm.FeatureProjection', in_channels=8, out_channels=6, log_softmax=True),
        head=dict(type='ltmm.COMICHead', num_classes=3, in_channels=6, **(head or {})),
        **options,
    )


def build(head: dict | None = None, **options) -> torch.nn.Module:
    torch.manual_seed(0)
    model = MODELS.build(config(head, **options))
    for module in model.modules():
        if hasattr(module, 'set_class_distribution'):
            module.set_class_distribution(ClassDistribution([40, 12, 5], num_images=50, co_occurrence=CO_OCCURRENCE))
        if hasattr(module, 'set_progress'):
            module.set_progress(1, 4)
    return model


def samples() -> list[DataSample]:
    return [DataSample().set_gt_score(target) for target in TARGET]


def gradients(model: torch.nn.Module, names: set[str]) -> set[str]:
    """The parameters that the named losses reach."""
    losses = model.loss(IMAGES, samples())
    sum(losses[name] for name in names).backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and (p.grad != 0).any()}


@pytest.mark.parametrize('shared_backbone', [False, True])
def test_one_step_trains_three_branches_by_named_terms(shared_backbone):
    model = build(shared_backbone=shared_backbone)
    losses = model(IMAGES, samples(), mode='loss')
    assert set(losses) == TERMS | {'balanced_loss_balancer'}
    sum(losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or (p.grad == 0).all()] == []


@pytest.mark.parametrize('branch', ['head', 'tail', 'balanced'])
def test_a_branch_learns_by_its_own_losses_alone(branch):
    model = build()
    reached = gradients(model, {name for name in model.loss(IMAGES, samples()) if name.startswith(branch)})
    others = {'head', 'tail', 'balanced'} - {branch}
    assert any(name.startswith(f'backbone.{branch}.') for name in reached)
    assert not any(
        f'{part}.{other}.' in name for name in reached for other in others for part in ('backbone', 'neck', 'fc')
    )
    assert any('attention' in name for name in reached) == (branch == 'balanced')


def test_predicts_by_the_balanced_classifier_on_attended_features():
    model = build().eval()
    feats = model.extract_feat(IMAGES)
    head, tail, balanced = (feats[branch][-1] for branch in ('head', 'tail', 'balanced'))
    attended = balanced + 0.1 * model.head.attention(balanced, torch.stack([head, tail], 1))
    expected = model.head.fc['balanced'](attended)
    torch.testing.assert_close(model(IMAGES), expected)
    torch.testing.assert_close(model.extract_feat(IMAGES, stage='pre_logits'), attended)
    scores = torch.stack([sample.pred_score for sample in model(IMAGES, mode='predict')])
    torch.testing.assert_close(scores, expected.sigmoid())


def test_a_frozen_shared_backbone_is_three_frozen_ones():
    three, shared = build(), build(shared_backbone=True)
    with torch.no_grad():
        for branch in ('head', 'tail', 'balanced'):
            three.backbone[branch].load_state_dict(shared.backbone.state_dict())
    three.neck.load_state_dict(shared.neck.state_dict())
    three.head.load_state_dict(shared.head.state_dict())
    for model in (three, shared):
        model.backbone.requires_grad_(False)
        torch.manual_seed(1)  # of the dropout
    losses = []
    for model in (three, shared):
        torch.manual_seed(1)
        losses.append(model.loss(IMAGES, samples()))
    torch.testing.assert_close(*losses)


def test_balancer_and_attention_can_be_left_out():
    model = build(dict(balancer=None, attention=None))
    assert set(model.loss(IMAGES, samples())) == TERMS
    assert not any('attention' in name or 'balancer' in name for name in model.state_dict())


def test_options_of_the_published_code():
    model = build(dict(attention=None, balancer=None, corrected_branches=['balanced'], irm_weight=0.5))
    losses = model.loss(IMAGES, samples())
    modifiers = [losses[f'{branch}_loss_modifier'] for branch in ('head', 'tail', 'balanced')]
    assert losses.keys() == {*(name for name in TERMS if 'modifier' in name), 'balanced_loss_corrector', 'irm_loss'}
    torch.testing.assert_close(losses['irm_loss'], sum(modifiers) / 6)
    reached = gradients(model, {'irm_loss'})
    assert {f'head.fc.{branch}.weight' for branch in ('head', 'tail', 'balanced')} <= reached
    with pytest.raises(ValueError, match="`corrected_branches` .* but got 'medium'"):
        build(dict(corrected_branches=['medium']))


def test_the_balancer_takes_the_modifier_of_the_branches():
    model = build(dict(loss=dict(type='ltmm.MultiFocalModifierLoss', form='multi_grained', gamma_neg=4.0)))
    assert model.head.balancer.loss.form == 'multi_grained' and model.head.balancer.loss.constants['gamma_neg'] == 4.0


def test_learning_rates_of_the_branches_are_set_by_name():
    model = build()
    wrapper = dict(
        optimizer=dict(type='Adam', lr=1.0),
        paramwise_cfg=dict(custom_keys={'neck.tail': dict(lr_mult=0.5), 'head.fc': dict(lr_mult=0.1)}),
    )
    groups = build_optim_wrapper(model, wrapper).param_groups
    rates = {id(group['params'][0]): group['lr'] for group in groups}
    assert {rates[id(p)] for p in model.neck['tail'].parameters()} == {0.5}
    assert {rates[id(p)] for p in model.head.fc.parameters()} == {0.1}
    assert rates[id(model.head.attention.key.weight)] == rates[id(model.neck['head'].proj.weight)] == 1.0


def test_a_checkpoint_carries_all_state():
    model = build()
    model.loss(IMAGES, samples())
    fresh = MODELS.build(config())
    fresh.load_state_dict(copy.deepcopy(model.state_dict()))
    for corrector in fresh.head.corrector.values():
        corrector.set_progress(1, 4)
    fresh.head.load_state_dict(model.head.state_dict())
    torch.testing.assert_close(fresh.eval()(IMAGES), model.eval()(IMAGES))
    torch.testing.assert_close(fresh.loss(IMAGES, samples()), model.loss(IMAGES, samples()))


def test_soft_labels_are_refused():
    soft = [DataSample().set_gt_score(torch.tensor([0.3, 0.0, 1.0])) for _ in IMAGES]
    with pytest.raises(ValueError, match='expected targets 1 .* has 0.3 for class 0.*Leave Mixup'):
        build().loss(IMAGES, soft)


def test_another_head_and_another_classifier_are_refused():
    cfg = config()
    with pytest.raises(TypeError, match="COMIC needs head=dict.type='ltmm.COMICHead'.*got LongTailClsHead"):
        MODELS.build(dict(cfg, head=dict(type='ltmm.LongTailClsHead', num_classes=3, in_channels=6)))
    plain = MODELS.build(dict(cfg, type='mmpretrain.ImageClassifier'))
    with pytest.raises(TypeError, match="COMICHead needs the features of the branches .*type='ltmm.COMIC'"):
        plain.loss(IMAGES, samples())


def test_an_unknown_stage_is_refused():
    with pytest.raises(ValueError, match="`stage` to be one of .*but got 'head'"):
        build().extract_feat(IMAGES, stage='head')
