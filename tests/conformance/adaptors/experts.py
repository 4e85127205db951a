"""Several experts: networks, losses, aggregation."""

import math
import re
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from toy import ROOT, read_config

from ltmm.class_distribution import SHOT_NAMES
from ltmm.engine.runner.expert_aggregation_loop import AggregationLearner
from ltmm.models.losses import LossInputs
from ltmm.models.losses.distillation.lfme_loss import curriculum_weights, scheduled_weights
from ltmm.models.losses.expert import evidential_weights
from ltmm.models.losses.expert.lgla_loss import angular_weight, frequency_regions
from ltmm.models.losses.expert.ncl_loss import mutual_divergence
from ltmm.models.losses.expert.sade_loss import inverse_prior
from ltmm.registry import MODELS

from ..frame import Case, adaptor

# ---------------------------------------------------------------------- networks


@adaptor('expert_backbone')
@torch.no_grad()
def expert_backbone(case: Case) -> dict[str, Tensor]:
    state = {name: (i, shape) for i, name, shape in case.params['state']}
    model = _network(case, state).double()
    ours = model.state_dict()
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    for name, (i, shape) in state.items():
        value = _filling(name, shape, i, case.params['amp'])
        if name.startswith('rt_classifiers.'):  # the heads of SHIKE's second stage, which no output depends on
            num_parameters += value.numel()
            continue
        is_cosine = len(shape) == 2 and name.replace('weight', 'bias') not in state  # stored as (in, out)
        ours[our_name(name)].copy_(value.T if is_cosine else value)
    case.check('params', num_parameters, case.params['params'])

    size = case.params['size']
    x = torch.arange(case.params['batch'] * 3 * size**2, dtype=torch.float64) * 0.11 + case.params['seed']
    x = x.cos().view(-1, 3, size, size)
    assert case.params['formula']  # says in words what `_filling` and the line above do
    outputs = {}
    for mode in ('eval', 'train'):
        model.train(mode == 'train')
        feats = model.backbone(x)
        logits = model.head.expert_logits(feats)
        found = dict(
            output=model.head.aggregation(logits),
            feat=feats[0].transpose(0, 1),
            logits=logits.transpose(0, 1),
            w=evidential_weights(logits).T,
        )
        outputs |= {f'{mode}_{name}': value for name, value in found.items() if f'{mode}_{name}' in case}
    return outputs


def _network(case: Case, state: dict[str, tuple]) -> nn.Module:
    """Our network for the names and shapes of the authors' state dict."""
    classifiers = next(name for name in ('linears', 'classifiers') if f'{name}.0.weight' in state)
    num_experts = _count(state, classifiers + '.{}.weight')
    is_linear = f'{classifiers}.0.bias' in state
    weight = state[f'{classifiers}.0.weight'][1]  # (C, D), but (D, C) of a cosine classifier
    in_channels, num_classes = weight[::-1] if is_linear else weight
    cosine = dict(type='ltmm.NormedLinear', scale=case.argument('s', 30.0))
    head = dict(
        type='ltmm.MultiExpertClsHead',
        in_channels=in_channels,
        num_classes=num_classes,
        num_experts=num_experts,
        classifier=dict(type='ltmm.Linear') if is_linear else cosine,
        loss=dict(type='ltmm.BalPoELoss', taus=[1.0] * num_experts),
    )
    backbone = _backbone(state, num_experts)
    if 'eval_w' in case:  # TLC: a prediction that depends on the batch
        eta = case.argument('eta', 0.2 if len(backbone['channels']) == 3 else 0.5)
        head['aggregation'] = dict(type='ltmm.EvidentialAggregation', eta=eta, normalize='batch')
    return MODELS.build(dict(type='mmpretrain.ImageClassifier', backbone=backbone, head=head))


def _backbone(state: dict[str, tuple], num_experts: int) -> dict[str, Any]:
    """Config of the backbone: ResNet, ResNeXt or CIFAR ResNet."""

    def shape(name: str) -> list[int]:
        return state[name][1]

    num_stages = 4 if any(name.startswith('layer4') for name in state) else 3
    expert_stages = [s for s in range(num_stages) if f'layer{s + 1}s.0.0.conv1.weight' in state]
    stages = [f'layer{s + 1}s.0' if s in expert_stages else f'layer{s + 1}' for s in range(num_stages)]
    is_bottleneck = f'{stages[0]}.0.conv3.weight' in state
    expansion, last = (4, 'conv3') if is_bottleneck else (1, 'conv2')
    channels = [shape(f'{stage}.0.{last}.weight')[0] // expansion for stage in stages]
    blocks = [_count(state, stage + '.{}.conv1.weight') for stage in stages]
    backbone = dict(channels=channels, num_experts=num_experts, stage_blocks=blocks)
    if 'shallow_exps.0.convs.StridedConv0.conv.0.weight' in state:
        return dict(backbone, type='ltmm.SHIKEResNetCIFAR')
    backbone['expert_stages'] = expert_stages
    if num_stages == 3:
        shortcut = 'B' if any('.shortcut.' in name for name in state) else 'A'
        return dict(backbone, type='ltmm.MultiExpertResNetCIFAR', shortcut=shortcut)
    width, of_group = shape(f'{stages[0]}.0.conv2.weight')[:2]
    if is_bottleneck and width > of_group:
        cardinality = dict(groups=width // of_group, width_per_group=of_group * 64 // channels[0])
        return dict(backbone, type='ltmm.MultiExpertResNeXt', depth=50, **cardinality)
    return dict(backbone, type='ltmm.MultiExpertResNet', depth=50 if is_bottleneck else 18)


def _count(state: dict[str, tuple], pattern: str) -> int:
    """How many of the names ``pattern.format(0)``, ``pattern.format(1)``, ... there are."""
    return next(i for i in range(len(state) + 1) if pattern.format(i) not in state)


def our_name(name: str) -> str:
    """ltmm's name of a tensor of the authors' CIFAR network, of one expert or several."""
    part, *rest = name.split('.')
    if part == 'linear':
        return '.'.join(['head.fc', *rest])
    if part in ('linears', 'classifiers'):
        return '.'.join(['head.fc.experts', *rest])
    if part == 'shallow_exps':  # shallow_exps.<e>.convs.StridedConv<k>.conv.<0 or 1>.<parameter>
        expert, _, block, _, layer, parameter = rest
        position = 3 * int(block.removeprefix('StridedConv')) + int(layer)  # a ReLU follows the first two layers
        return f'backbone.shallow.{expert}.{position}.{parameter}'
    if part.endswith('s'):
        part, rest = part[:-1], ['experts', *rest]
    return '.'.join(['backbone', part, *rest])


def _filling(name: str, shape: list[int], position: int, amplitude: float) -> Tensor:
    """The numbers the authors' network was filled with."""
    wave = (torch.arange(math.prod(shape), dtype=torch.float64) * 0.37 + 1.3 * position).sin().view(shape)
    if len(shape) == 4:
        return wave * amplitude / math.prod(shape[1:]) ** 0.5
    if len(shape) == 2:
        return wave * amplitude / shape[0] ** 0.5
    if name.endswith('running_var'):
        return 1 + 0.3 * wave
    return 0.1 * wave if name.endswith(('running_mean', 'bias')) else 1 + 0.2 * wave


@adaptor('lgla_backbone')
@torch.no_grad()
def lgla_backbone(case: Case) -> dict[str, Tensor]:
    entries, num_experts = case.params['state_dict_order'], case.params['num_experts']
    state = {name: (j, shape) for j, (name, shape) in enumerate(entries)}
    model = _grouped_network(case, state, case.params['blocks'], case.params['s']).double()
    ours = model.state_dict()
    for name, (j, shape) in state.items():
        if not name.endswith('num_batches_tracked'):
            value = _filling_by_congruence(name, shape, j)
            ours[grouped_name(name)].copy_(value.T if len(shape) == 2 else value)
    feats = model.eval().backbone(case['x'])
    logits = model.head.expert_logits(feats).transpose(0, 1)
    case.check('logits', logits.shape, (len(case['x']), num_experts, case.params['num_classes']))
    return dict(logits=logits, output=model.head(feats), feat=feats[0].transpose(0, 1))


def _grouped_network(case: Case, state: dict[str, tuple], blocks: list[int], scale: float) -> nn.Module:
    """LGLA's CIFAR network as its config has it."""
    num_experts = case.params['num_experts']
    model = read_config(ROOT / 'configs/cifar100_lt/lgla_r32.py').model
    in_channels, num_classes = state['linears.0.weight'][1]
    channels = [state['conv1.weight'][1][0], *(state[f'layer{s}s.0.conv1.weight'][1][0] // num_experts for s in (2, 3))]
    model.backbone.update(depth=None, stage_blocks=blocks, channels=channels, num_experts=num_experts)
    model.head.update(num_classes=num_classes, in_channels=in_channels, num_experts=num_experts)
    model.head.classifier.scale = scale
    model.head.loss.update(num_experts=num_experts, scale=scale)
    return MODELS.build(dict(model, type='mmpretrain.ImageClassifier'))


def grouped_name(name: str) -> str:
    """ltmm's name of a tensor of LGLA's CIFAR network, whose separate stages are one module each."""
    return (
        re.sub(r'^layer(\d)s\.', r'backbone.layer\1.module.', name) if re.match(r'layer\ds', name) else our_name(name)
    )


def _filling_by_congruence(name: str, shape: list[int], position: int) -> Tensor:
    """The numbers LGLA's network was filled with."""
    i = torch.arange(math.prod(shape), dtype=torch.int64)
    r = ((i * 1103515245 + 12345 + (position + 1) * 2654435761) % 2**31).double().view(shape) / 2**31 - 0.5
    if len(shape) == 4:
        return r * math.sqrt(24 / (shape[1] * 9))
    if len(shape) == 2:
        return r
    return 1 + 0.2 * r if name.endswith('running_var') or re.search(r'bn\d\.weight$', name) else 0.2 * r


# ---------------------------------------------------------------------- losses

GROUPS = ('many_shot', 'median_shot', 'low_shot')  # LFME's names of SHOT_NAMES


def _total(case: Case, loss: nn.Module, label: Tensor, **kwargs: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the terms of the loss, and its gradient by the logits."""
    logits = case['logits'].requires_grad_()
    value = sum(loss(LossInputs(label, expert_logits=logits, **kwargs)).values())
    value.backward()
    return value, logits.grad


@adaptor('ride')
def ride(case: Case) -> dict[str, Tensor]:
    settings = dict(
        class_counts=case.arrays['class_counts'],
        diversity_factor=case.params['diversity_factor'],
        reweight_factor=case.params['reweight_factor'],
        reweight_epoch=case.params['reweight_epoch'],
        max_margin=case.argument('max_m', 0.5),
        scale=case.argument('s', 30.0),
    )
    distill = dict(distill_temperature=case.argument('T', 1.5), distill_weight=case.argument('factor', 1.0))
    outputs = {}
    for prefix, cfg in (('', dict(type='ltmm.RIDELoss')), ('distill_', dict(type='ltmm.RIDEDistillLoss', **distill))):
        loss = MODELS.build(dict(cfg, **settings))
        loss.set_progress(case.params['epoch_1_based'] - 1, max_epochs=10**6)
        case.check('drw_active', loss.epoch >= loss.reweight_epoch, case.params['drw_active'])
        teacher = dict(teacher_logits=case['teacher_logits']) if prefix else {}
        outputs[f'{prefix}loss'], outputs[f'{prefix}grad_logits'] = _total(case, loss, case['target'], **teacher)
    return outputs


@adaptor('sade')
def sade(case: Case) -> dict[str, Tensor]:
    loss = MODELS.build(dict(type='ltmm.SADELoss', tau=case.params['tau'], class_counts=case.arrays['class_counts']))
    value, grad = _total(case, loss, case['target'])
    prior = loss.get_class_distribution().prior
    return dict(loss=value, grad_logits=grad, prior=prior, inverse_prior=inverse_prior(prior))


@adaptor('sade_tta')
def sade_tta(case: Case) -> dict[str, Tensor]:
    steps = case['view_logits'].transpose(2, 3)  # (steps, 2 views, E, N, C)
    learner = AggregationLearner(steps.size(2), case.params['lr'], case.params['weight_decay'])
    trajectory = []
    for first, second in steps:
        learner.step(first, second)
        trajectory.append(learner.parameter.detach().clone())
    return dict(weight_trajectory=torch.stack(trajectory), final_softmax=learner.weights)


@adaptor('balpoe')
def balpoe(case: Case) -> dict[str, Tensor]:
    loss = MODELS.build(
        dict(type='ltmm.BalPoELoss', taus=case.params['tau_list'], class_counts=case.arrays['class_counts'])
    )
    value, grad = _total(case, loss, case['target'])
    onehot = nn.functional.one_hot(case['target'], loss.bias.size(1)).to(case.dtype)
    lam = case['lam']
    mixed_value, mixed_grad = _total(case, loss, lam * onehot + (1 - lam) * onehot[case['perm']])
    return dict(loss=value, grad_logits=grad, bias=loss.bias, mixup_loss=mixed_value, mixup_grad_logits=mixed_grad)


@adaptor('mdcs')
def mdcs(case: Case) -> dict[str, Tensor]:
    settings = {'lambdas': 'powers', 'kl_weight': 'consistency_weight', 'warmup': 'ramp_epochs'}
    given = {ours: case.params[name] for name, ours in settings.items() if name in case.params}
    loss = MODELS.build(dict(type='ltmm.MDCSLoss', class_counts=case.arrays['class_counts'], **given))
    loss.set_progress(case.params['epoch_1_based'] - 1, max_epochs=10**6)
    weak, strong = np.split(case.arrays['target'], 2)
    case.check('target', weak, strong)
    value, grad = _total(case, loss, torch.from_numpy(weak))
    return dict(loss=value, grad_logits=grad)


@adaptor('lgla', ignores={'seed': 'what the logits were drawn with'})
def lgla(case: Case) -> dict[str, Tensor]:
    counts, num_experts, scale = case.arrays['cls_num'], case.params['num_experts'], case.params['s']
    settings = dict(num_experts=num_experts, tau=case.params['tau'], scale=scale, class_counts=counts)
    loss = MODELS.build(dict(type='ltmm.LGLALoss', **settings))
    logits, label = case['logits'].requires_grad_(), case['target']
    case.check('logits', logits.shape, (num_experts, case.params['batch'], case.params['num_classes']))
    terms = torch.stack([*loss(LossInputs(label, expert_logits=logits)).values()])
    terms.sum().backward()

    region, num_regions = torch.from_numpy(frequency_regions(counts, num_experts - 1)), num_experts - 1
    cosine = logits.detach().gather(2, label.expand(num_experts, -1).unsqueeze(2)).squeeze(2) / scale
    member = region == torch.arange(num_regions).unsqueeze(1)  # (R, C)
    bounds = case.arrays['region_points'][:num_regions, :, None]  # of the regions that experts have
    case.check('region_points', member, (bounds[:, 0] < counts) & (counts <= bounds[:, 1]))
    case.check('cls_mask', member, case.arrays['cls_mask'][:num_regions])
    return dict(
        loss=terms.sum(),
        grad_logits=logits.grad,
        per_expert_loss=terms,
        aaw_weight=angular_weight(cosine, region[label], num_regions),
    )


@adaptor('ncl')
def ncl(case: Case) -> dict[str, Tensor]:
    weights = dict(diversity_factor='distill_weight', diversity_factor_hcm='hard_distill_weight')
    value, grad = _total(case, _nested(case, 'NCLLoss', weights), case['target'])
    raw = case['logits'].requires_grad_()
    factor = re.search(r'NBOD\(inputs, *([\d.]+)\)', case.called)  # of a second call, on the plain logits
    factor = float(factor[1]) if factor else case.params['diversity_factor']
    plain = factor / max(len(raw) - 1, 1) * mutual_divergence(raw).mean()
    plain.backward()
    return dict(loss=value, grad_logits=grad, nbod_raw=plain, nbod_grad=raw.grad)


@adaptor('ncl_plus')
def ncl_plus(case: Case) -> dict[str, Tensor]:
    names = dict(diversity_factor='distill_weight', intra_N='num_views')
    views = case['target'].view(case.params['intra_N'], -1)
    case.check('target', views, views[:1].expand_as(views))
    value, grad = _total(case, _nested(case, 'NCLPlusLoss', names), views[0])
    return dict(loss=value, grad_logits=grad)


def _nested(case: Case, loss: str, names: dict[str, str]) -> nn.Module:
    """A loss of NCL; ``names`` are those of further arguments."""
    names = names | dict(hcm_N='num_hard', ce_ratio='ce_weight', hcm_ratio='hard_weight')
    settings = {ours: case.params[name] for name, ours in names.items()}
    return MODELS.build(dict(type=f'ltmm.{loss}', class_counts=case.arrays['class_counts'], **settings))


@adaptor('tlc')
def tlc(case: Case) -> dict[str, Tensor]:
    names = dict(
        max_m='max_margin', reweight_epoch='reweight_epoch', reweight_factor='reweight_factor', tau='threshold'
    )
    default = dict(max_m=0.5, reweight_epoch=160, reweight_factor=0.05, tau=0.54)
    given = {ours: case.argument(name, default[name]) for name, ours in names.items()}
    given['reweight_epoch'] = int(given['reweight_epoch'])
    kl_epochs = round((given['reweight_epoch'] + case.argument('annealing', 500)) / given['reweight_factor'])
    loss = MODELS.build(
        dict(type='ltmm.TLCLoss', class_counts=case.arrays['class_counts'], kl_epochs=kl_epochs, **given)
    )
    loss.set_progress(case.params['epoch_1_based'] - 1, max_epochs=10**6)
    aggregation = MODELS.build(dict(type='ltmm.EvidentialAggregation', eta=case.params['eta'], normalize='batch'))
    logits = case['logits']
    output = aggregation(logits)
    value, grad = _total(case, loss, case['target'], cls_score=output)
    # their KL divergence and its gradient are differences of numbers as large as e^z z, which float64 rounds
    rounding = torch.finfo(logits.dtype).eps * logits.exp() * logits.abs() * (loss.epoch + 1) / kl_epochs
    return dict(
        final_output=output,
        w=evidential_weights(logits),
        loss=_up_to(rounding.sum(-1).max(), value, case['loss']),
        grad_logits=_up_to(rounding, grad, case['grad_logits']),
    )


@adaptor('lfme')
def lfme(case: Case) -> dict[str, Tensor]:
    params, names = case.params, dict(zip(GROUPS, SHOT_NAMES))
    max_epochs, epoch = params['total_epochs'], params['epoch_1_based']
    loss = MODELS.build(
        dict(
            type='ltmm.LFMELoss',
            class_counts=case.arrays['class_counts'],
            temperature=params['temperature'],
            threshold=params['decay_thresh'],
        )
    )
    loss.set_progress(epoch - 1, max_epochs)
    logits, label = case['logits'].requires_grad_(), case['target']
    num_classes = logits.size(1)
    teacher = torch.zeros(len(label), num_classes, dtype=case.dtype)
    for group in params['subsets']:
        classes = case[f'classes_{group}']
        case.check(
            f'classes_{group}', (loss.group == SHOT_NAMES.index(names[group])).nonzero().squeeze(1), classes.sort()[0]
        )
        teacher[:, classes] = case[f'teacher_{group}']
    accuracies = dict(teacher=params['distill_acc'], long_tail=params['current_acc'])
    loss.on_metrics({f'{kind}/{names[g]}': 100 * acc[g] for kind, acc in accuracies.items() for g in params['subsets']})
    loss.curriculum.resize(len(label))
    loss.curriculum.values[:] = case['instance_weight']
    terms = loss(LossInputs(label, logits, sample_idx=torch.arange(len(label)), teacher_logits=teacher))
    for group in params['subsets']:
        weight = loss.expert_weight[SHOT_NAMES.index(names[group])]
        case.check('distill_weights', weight, params['distill_weights'][group])
        term = params['distill_losses'][group] * params['distill_weights'][group]
        case.check('distill_losses', terms[f'loss_{names[group]}'], term)
    value = sum(terms.values())
    value.backward()
    lowest = torch.tensor(loss.lowest_weights, dtype=case.dtype)[loss.group]
    return dict(
        scheduled_weight=scheduled_weights(case['instance_weight'], epoch, max_epochs),
        loss_perf=terms['loss_cls'],
        loss_distill=value - terms['loss_cls'],
        loss=value,
        grad_logits=logits.grad,
        scaled_conf=curriculum_weights(case['conf'], case['conf_labels'], lowest),
    )


def _up_to(rounding: Tensor, got: Tensor, expected: Tensor) -> Tensor:
    return torch.where((got - expected).abs() <= rounding, expected, got)
