"""Forward and backward of every registered loss against cross entropy or BCE on the same float32 logits.

Losses of several experts stand against the cross entropies of three experts.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from pair import Pair
from torch import Tensor
from training import build

from ltmm.models.losses import BoxHeadLoss, ClassificationLoss, ExpertLoss, LossInputs, MultiLabelLoss
from ltmm.registry import MODELS

REBALANCE = dict(alpha=0.1, beta=10.0, mu=0.2)
TOLERANT = dict(neg_scale=2.0, init_bias=0.05)
FOCAL = dict(focal_gamma=2.0, balance=2.0)
RIDE = dict(diversity_factor=-0.2, reweight_factor=0.02, reweight_epoch=0)
SADE = dict(type='ltmm.SADELoss')
FORMS = {  # arguments by row, for losses that need some or have several forms
    'AREAReweighting': {},  # costs what ReweightedLoss does
    'BalancedGroupSoftmaxLoss': {'': dict(group_bounds=(80, 90))},
    'CDTLoss': {'': dict(gamma=0.2)},
    'ClassBalancedLoss': {
        'softmax': dict(loss_type='softmax', beta=0.9999),
        'sigmoid': dict(loss_type='sigmoid', beta=0.9999),
        'focal': dict(loss_type='focal', beta=0.9999, gamma=0.5),
    },
    'DeferredExpertReweighting': {'SADE': dict(loss=SADE, start_epoch=0, kind='inverse')},
    'DeferredReweighting': {'LDAM': dict(loss=dict(type='ltmm.LDAMLoss'), start_epoch=0, kind='inverse')},
    'DistributionBalancedLoss': {
        'R-BCE': REBALANCE,
        'DB-0FL': dict(REBALANCE, **TOLERANT),
        'DB': dict(REBALANCE, **TOLERANT, **FOCAL),
        'CB-Focal': dict(reweight='CB', cb_beta=0.9, cb_mode='average_w', **FOCAL),
    },
    'DropLoss': {'': dict(lambda_=1e-3), 'Gumbel': dict(lambda_=1e-3, activation='gumbel')},
    'EQLLoss': {'': dict(lambda_=1e-3)},
    'LabelAwareSmoothingLoss': {'': dict(smooth_head=0.4, smooth_tail=0.1)},
    'MultiFocalModifierLoss': {'prior': dict(form='prior'), 'grained': dict(form='multi_grained')},
    'MultiLabelFocalLoss': {'': dict(gamma=2.0, balance=2.0)},
    'NCLLoss': {'': dict(num_hard=2442)},
    'NCLPlusLoss': {'': dict(num_hard=2442)},
    'PartialASLLoss': {'ignore': dict(mode='ignore'), 'selective': dict(mode='selective', topk=2)},
    'PerExpertLoss': {'LDAM': dict(loss=dict(type='ltmm.LDAMLoss'))},
    'ReweightedExpertLoss': {},  # costs what DeferredExpertReweighting does
    'ReweightedLoss': {'CE': dict(loss=dict(type='mmpretrain.CrossEntropyLoss'), kind='inverse')},
    'RIDEDistillLoss': {'': RIDE},
    'RIDELoss': {'': RIDE},
    'RoIExpertLoss': {},  # take the logits of several experts
    'RoILossPerExpert': {},
    'ROGLoss': {'Seesaw': dict(loss=dict(type='ltmm.SeesawLoss'))},
    'SigmoidFocalLoss': {'0': dict(gamma=0.0), '2': dict(gamma=2.0)},
    'SoftmaxEQLLoss': {'': dict(lambda_=1e-4)},
    'SoftmaxFocalLoss': {'': dict(gamma=1.0)},
    'TLCLoss': {'': dict(reweight_factor=0.02, reweight_epoch=0, kl_epochs=29_000)},
    'VSLoss': {'': dict(gamma=0.05, tau=0.75)},
}
PARTIAL = ('MultiFocalModifierLoss', 'PartialASLLoss', 'ReflectiveLabelCorrectorLoss')  # made for unknown labels
BOUNDS = {  # a divergence between predictions takes four times the passes over the logits that a cross entropy takes
    'BalancedGroupSoftmaxLoss': 6.0,  # puts the columns in the order of the groups
    'DropLoss': 8.0,  # draws a number per logit; two exponentials with the Gumbel activation
    'EqualizedFocalLoss': 12.0,  # the loss, and its gradient in closed form
    'EqualizedQualityFocalLoss': 10.0,
    'GumbelCrossEntropyLoss': 7.0,
    'NCLLoss': 28.0,  # two cross entropies and two divergences, and finds 2,442 classes of 8,142
    'NCLPlusLoss': 42.0,  # the same, with divergences between four views too
    'RIDEDistillLoss': 9.0,
    'RIDELoss': 8.0,
    'ROGLoss': None,  # ranks all proposals, which no entropy does
    'SHIKELoss': 16.0,  # two divergences
    'TLCLoss': 48.0,  # a divergence, and gamma functions of each logit
}
KINDS = {  # rows, classes, bound
    ClassificationLoss: (256, 8142, 2.5),
    MultiLabelLoss: (256, 1000, 3.0),
    BoxHeadLoss: (4096, 1203, 3.0),
}
EXPERTS = (256, 8142, 3.5)


def random_batch(kind: type, name: str, num_rows: int, num_classes: int, num_columns: int) -> tuple[Tensor, ...]:
    """Return logits in [-1, 1], as cosines are, the labels, and the targets of BCE."""
    score = (2 * torch.rand(num_rows, num_columns) - 1).requires_grad_()
    if kind is MultiLabelLoss:
        target = (torch.rand_like(score) < 0.01).float()
        unknown = torch.rand_like(score) < (0.3 if name in PARTIAL else 0)
        return score, target.masked_fill(unknown, -1), target
    label = torch.randint(num_classes, (num_rows,))
    if kind is BoxHeadLoss:
        label[num_rows // 4 :] = num_classes  # background
    return score, label, F.one_hot(label, num_columns + 1)[:, :num_columns].float()


def pair(kind: type, name: str, form: str, args: dict) -> Pair:
    num_rows, num_classes, bound = KINDS[kind]
    loss = build(dict(type=f'ltmm.{name}', **args), num_classes, kind is MultiLabelLoss)
    num_columns = loss.get_cls_channels(num_classes) if kind is BoxHeadLoss else num_classes
    score, label, target = random_batch(kind, name, num_rows, num_classes, num_columns)
    use_sigmoid = getattr(loss, 'use_sigmoid', kind is MultiLabelLoss)  # None: scores of another kind, a column each
    is_sigmoid = use_sigmoid is not False or form in ('sigmoid', 'focal')

    def ours() -> None:
        score.grad = None
        value = loss(score, label, avg_factor=num_rows)
        (sum(value.values()) if isinstance(value, dict) else value).backward()

    def reference() -> None:
        score.grad = None
        if is_sigmoid:
            (F.binary_cross_entropy_with_logits(score, target, reduction='sum') / num_rows).backward()
        else:
            F.cross_entropy(score, label).backward()

    return Pair(f'{name}({form})' if form else name, ours, reference, BOUNDS.get(name, bound))


def expert_pair(name: str, form: str, args: dict) -> Pair:
    num_images, num_classes, bound = EXPERTS
    loss = build(dict(type=f'ltmm.{name}', **args), num_classes)
    num_experts, num_rows = loss.num_experts or 3, loss.num_views * num_images
    score = (2 * torch.rand(num_experts, num_rows, num_classes) - 1).requires_grad_()
    label = torch.randint(num_classes, (num_images,))
    others = dict(cls_score=score.detach().mean(0), teacher_logits=torch.randn(num_rows, num_classes))
    inputs = LossInputs(label, expert_logits=score, **others)
    all_labels = label.repeat(num_experts * loss.num_views)

    def ours() -> None:
        score.grad = None
        sum(loss(inputs).values()).backward()

    def reference() -> None:
        score.grad = None
        F.cross_entropy(score.flatten(0, 1), all_labels).backward()

    return Pair(f'{name}({form})' if form else name, ours, reference, BOUNDS.get(name, bound))


def compare() -> Iterator[Pair]:
    torch.manual_seed(0)
    classes = {name: item for name, item in sorted(MODELS.module_dict.items()) if isinstance(item, type)}
    for kind in KINDS:
        for name, cls in classes.items():
            if issubclass(cls, kind) and not (kind is ClassificationLoss and issubclass(cls, BoxHeadLoss)):
                for form, args in FORMS.get(name, {'': {}}).items():
                    yield pair(kind, name, form, args)
    for name, cls in classes.items():
        if issubclass(cls, ExpertLoss):
            for form, args in FORMS.get(name, {'': {}}).items():
                yield expert_pair(name, form, args)
