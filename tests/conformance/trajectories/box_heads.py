"""Classifiers of box heads on given RoI features: EQL, EQLv2, ECM, federated, Seesaw, ROG, LOCE, BACL, BAGS, GOL."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ltmm.models.losses import FederatedLoss
from ltmm.models.losses.detection.base import build_detection_loss
from ltmm.registry import MODELS

from ..adaptors.detection import checked_others
from ..frame import Case, adaptor
from .features import GivenFeatures, linear_warm_up, read_steps, train_on_features
from .weights import compare_state, draw_state

IGNORED = dict(
    seed_y='what the labels were drawn with',
    foreground='RoIs of an object, which the labels tell',
    start='a name for what `init` says',
    **{'loss_cls.type': "the authors' name of the loss"},
)
PARTS = ('ltmm.FreezeHook', 'ltmm.LoadPartsHook')  # of hooks that name the parts of a whole detector
LABELS = dict(image_counts='what the labels were drawn with', num_images='the same')


@MODELS.register_module()
class BoxClassifier(BaseModel):
    """A box head alone, without boxes."""

    def __init__(self, bbox_head: dict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bbox_head = MODELS.build(bbox_head)
        self.bbox_head.shared_fcs = nn.ModuleList()  # the features are those before the classifier

    def forward(
        self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor]:
        cls_score, _ = self.bbox_head(inputs)
        if mode == 'tensor':
            return cls_score
        label = torch.cat([sample.gt_label for sample in data_samples])
        return self.bbox_head.loss(cls_score, None, None, label, cls_score.new_ones(len(label)), None, None)


class GivenMemory(nn.Module):
    """Stands in for the memory of a loss: it yields given features."""

    def draw(self, *_: Any) -> tuple[Tensor, Tensor]:
        return self.given

    def update(self, *_: Any) -> None:
        pass


@MODELS.register_module()
class BoxClassifierWithMemory(BoxClassifier):
    """A box head alone, whose last rows are those that its loss adds.

    Args:
        object_idx: object of each proposal, (steps, N).
    """

    def __init__(self, object_idx: Sequence, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.object_idx, self.step = torch.tensor(object_idx), 0
        self.bbox_head.loss_cls.objective.memory = GivenMemory()

    def forward(
        self, inputs: Tensor, data_samples: Sequence[DataSample] | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor]:
        if mode == 'tensor':
            return super().forward(inputs)
        num_rows = self.object_idx.size(1)
        memory_label = torch.cat([sample.gt_label for sample in data_samples[num_rows:]])
        self.bbox_head.loss_cls.objective.memory.given = (inputs[num_rows:].flatten(1), memory_label)
        self.bbox_head._object_idx = self.object_idx[self.step]
        self.step += 1
        return super().forward(inputs[:num_rows], data_samples[:num_rows], mode)


def train_classifier(
    case: Case,
    config: str,
    loss: dict[str, Any],
    terms: Sequence[str],
    state: dict[str, Callable[[nn.Module], Tensor]],
    class_counts: Sequence[int] | dict = (1,),
    labels: np.ndarray | None = None,
    columns: Tensor | None = None,
    num_added: int = 0,
    model: dict[str, Any] = dict(type='ltmm.BoxClassifier'),
    watch: Sequence[str] = (),
    steps: dict[str, Any] | None = None,
    schedule: dict[str, Any] | None = None,
    **head: Any,
) -> dict[str, Any]:
    """Train the classifier of a config's box head.

    Args:
        case: the case.
        config: name of the config.
        loss: arguments of the loss, by the path below ``loss_cls``.
        terms: names of the losses, as the case orders them.
        state: what is compared beside the parameters, from the authors' names to a function of the loss.
        class_counts: of the training set.
        labels: in ltmm's order; those of the case when left out.
        columns: of ltmm's classifier, in the authors' order; the same when left out.
        num_added: rows after those of the RoIs.
        model: around the box head.
        watch: names of what is compared after each step, as in ``state``.
        steps: when each step happens; those of the case by default.
        schedule: optimizer, clipping and schedule; those of the case by default.
        head: further arguments of the head.
    """
    pytest.importorskip('mmcv.ops')
    params = case.params
    labels = case.arrays['labels'] if labels is None else labels
    data = GivenFeatures(labels, params['seed_x'], params['in_channels'], 'relu')
    case.check('rois', data.labels.shape[1], params['rois'] + num_added)

    def classifier_alone(cfg: Config) -> None:
        bbox_head = cfg.model.roi_head.bbox_head
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type not in PARTS]
        cfg.model = dict(model, bbox_head=bbox_head)
        if 'init_cfg' in bbox_head:
            bbox_head.init_cfg = [init for init in bbox_head.init_cfg if init.override == dict(name='fc_cls')]
        bbox_head.update(
            with_reg=False,
            in_channels=params['in_channels'],
            fc_out_channels=params['in_channels'],
            num_classes=params['num_classes'],
            **head,
        )

    weights = draw_state(params['init'], params['seed_w'])
    columns = torch.arange(len(weights['fc_cls.bias'])) if columns is None else columns
    weights = {name: torch.empty_like(value).index_copy_(0, columns, value) for name, value in weights.items()}
    training = train_on_features(
        config,
        data,
        {f'bbox_head.{name}': value for name, value in weights.items()},
        steps or read_steps(case),
        {
            **(schedule or linear_warm_up(case)),
            **{f'model.bbox_head.loss_cls.{name}': value for name, value in loss.items()},
        },
        class_counts if len(class_counts) > 1 else [1] * params['num_classes'],
        classifier_alone,
        lambda model: [state[name](model.bbox_head.loss_cls).clone() for name in watch],
    )
    if params['start'] != 'spread':
        case.check('start of the bias', training.drawn['bbox_head.fc_cls.bias'], weights['fc_cls.bias'])
    end, loss_cls = training.end, training.end.bbox_head.loss_cls
    logits, expected = end(training.evaluated).detach(), case.arrays['eval_logits']
    size = abs(expected).max()  # the authors of Seesaw divide by N + 1.2e-7
    case.check('eval_logits', logits[:, columns], expected, size)
    compare_state(
        case,
        'state',
        (
            state[name](loss_cls) if name in state else end.state_dict()[f'bbox_head.{name}'][columns]
            for _, name, _ in params['state']
        ),
    )
    scores = loss_cls if hasattr(loss_cls, 'get_activation') else build_detection_loss(loss_cls, 'BoxClassifier')
    watched = {name.rpartition('.')[2]: torch.stack(values) for name, values in zip(watch, zip(*training.watched))}
    final = {f'final_{name.rpartition(".")[2]}': value for name, value in state.items()}
    return dict(
        {name: value(loss_cls) for name, value in final.items() if name in case},
        **watched,
        loss_total=training.losses['loss'],
        loss_terms=np.column_stack([training.losses[name] for name in terms]),
        lr=training.lr(),
        grad_norm=training.grad_norm,
        train_logits_step0=training.start(training.first).detach()[:, columns],
        eval_scores=scores.get_activation(logits),
    )


@adaptor('trajectory_eql', ignores=dict(IGNORED, **{'loss_cls.version': 'whose image counts are given'}))
def eql(case: Case) -> dict[str, Any]:
    params = case.params
    case.check('sigmoid', params['loss_cls']['use_sigmoid'], True)
    counts = dict(
        instance_counts=params['image_counts'], image_counts=params['image_counts'], num_images=params['num_images']
    )
    loss = dict(lambda_=params['loss_cls']['lambda_'])
    return train_classifier(case, 'lvis/eql_r50.py', loss, ['loss_cls'], {}, counts)


@adaptor('trajectory_eqlv2', ignores=dict(IGNORED, **LABELS))
def eqlv2(case: Case) -> dict[str, Any]:
    loss = {name: value for name, value in case.params['loss_cls'].items() if name != 'type'}
    state = {
        'loss_cls.pos_grad': lambda loss: loss.gradients.positive,
        'loss_cls.neg_grad': lambda loss: loss.gradients.negative,
        'loss_cls.pos_neg': lambda loss: loss.gradient_ratio,
    }
    return train_classifier(case, 'lvis/eqlv2_r50.py', loss, ['loss_cls'], state)


@adaptor('trajectory_ecm', ignores=dict(IGNORED, image_counts='what the labels were drawn with', bias='0'))
def ecm(case: Case) -> dict[str, Any]:
    params, loss_cls, classifier = case.params, case.params['loss_cls'], case.params['classifier']
    case.check('sigmoid', loss_cls['use_sigmoid'], True)
    layer = dict(type=classifier['type'])
    if 'tempearture' in classifier:
        layer['temperature'] = classifier['tempearture']
    loss = dict(background_ratio=loss_cls['fg_bg_ratio'], loss_weight=loss_cls['loss_weight'])
    state = {
        'loss_cls.sample_n': lambda loss: with_background(loss.get_class_distribution().instance_counts, loss),
        'loss_cls.detection_cls_weight': lambda loss: loss.weight[None],
    }
    counts = params['instance_counts']
    return train_classifier(case, 'lvis/ecm_r50.py', loss, ['loss_cls'], state, counts, cls_predictor_cfg=layer)


def with_background(counts: np.ndarray, loss: nn.Module) -> Tensor:
    """Instances per class and of background."""
    return torch.tensor([*counts, loss.background_ratio * counts.sum()], dtype=torch.float64)


@contextmanager
def given_draws(draws: Sequence[Tensor]) -> Iterator[None]:
    """Make the federated loss take its sets from here, and clipping by value tell the norm before it."""
    draws, clip = iter(draws), nn.utils.clip_grad_value_

    def clip_and_tell(parameters: Sequence[nn.Parameter], **kwargs: Any) -> Tensor:
        norm = torch.stack([p.grad.norm() for p in parameters]).norm()
        clip(parameters, **kwargs)
        return norm

    with (
        mock.patch.object(FederatedLoss, 'draw', lambda self, label: next(draws)),
        mock.patch.object(nn.utils, 'clip_grad_value_', clip_and_tell),
    ):
        yield


@adaptor(
    'trajectory_federated',
    ignores=dict(IGNORED, seed_classes='the sets are given', bias='a number that `init` gives'),
    slow=True,
)
def federated(case: Case) -> dict[str, Any]:
    params, loss = case.params, case.params['loss_cls']
    case.check('iterations per epoch and form', [params['epoch_length'], loss['use_fed_loss']], [1, True])
    ours = dict(num_sampled_classes=loss['fed_loss_num_cat'], power=loss['fed_loss_freq_weight'])
    config, head = 'lvis/federated_r50.py', {}
    if not loss['use_sigmoid_ce']:  # the same as plain cross entropy
        config, head, ours = 'lvis/softmax_rfs_r50.py', dict(type='ltmm.Shared2FCBBoxHead'), {}
    iterations, total = params['iteration_of_step'], params['lr_config']['step'][-1] + 10000
    loop = dict(type='ltmm.GivenIterations', epoch_length=total, iterations=iterations, max_epochs=1)
    schedule = linear_warm_up(case) | {
        'optim_wrapper.clip_grad': dict(type='value', clip_value=params['grad_clip_value']),
        'param_scheduler.1.by_epoch': False,
        'param_scheduler.1.end': total,
    }
    with given_draws(case['fed_classes'].bool()):
        return train_classifier(
            case,
            config,
            ours,
            ['loss_cls'],
            {},
            params['image_counts'],
            steps=dict(epoch_of_step=[0] * len(iterations), train_cfg=loop),
            schedule=schedule,
            **head,
        )


@adaptor('trajectory_seesaw', ignores=dict(IGNORED, **LABELS, bias='a number that `init` gives'))
def seesaw(case: Case) -> dict[str, Any]:
    loss = {name: value for name, value in case.params['loss_cls'].items() if name != 'type'}
    state = {'loss_cls.cum_samples': lambda loss: loss.counts.counts}
    terms = ['loss_cls_objectness', 'loss_cls_classes']
    classifier = dict(case.params['classifier'])
    return train_classifier(case, 'lvis/seesaw_r50_2x.py', loss, terms, state, cls_predictor_cfg=classifier)


def train_rog(case: Case, config: str, terms: Sequence[str], **head: Any) -> dict[str, Any]:
    """Train with the ranking loss."""
    params = case.params
    loss = {f'loss.{name}': value for name, value in params['loss_cls'].items() if name != 'type'}
    loss['loss_rank'] = dict(type='ltmm.GAPLoss', gamma=params['gamma'], loss_weight=params['lam'])
    state = {
        'num_samples': lambda loss: loss.loss_rank.seen.counts,
        'loss_cls.cum_samples': lambda loss: loss.loss.counts.counts,
    }
    return train_classifier(case, config, loss, [*terms, 'loss_rank'], state, **head)


@adaptor('trajectory_rog', ignores=dict(IGNORED, **LABELS))
def rog(case: Case) -> dict[str, Any]:
    return train_rog(case, 'lvis/rog_r50.py', ['loss_cls'])


@adaptor('trajectory_rog_seesaw', ignores=dict(IGNORED, **LABELS))
def rog_seesaw(case: Case) -> dict[str, Any]:
    classifier = case.params['classifier']
    cosine = dict(type=classifier['type'], temperature=classifier['tempearture'])
    terms = ['loss_cls_objectness', 'loss_cls_classes']
    return train_rog(case, 'lvis/rog_seesaw_r50.py', terms, cls_predictor_cfg=cosine)


@adaptor('trajectory_loce_ebl', ignores=dict(IGNORED, **LABELS, bias='a number that `init` gives'))
def loce(case: Case) -> dict[str, Any]:
    params, label = case.params, case.arrays['labels']
    case.check('softmax', params['loss_cls']['use_sigmoid'], False)
    num_steps, num_images, num_objects = case.arrays['gt_labels'].shape
    case.check('objects', [num_images, num_objects], [params['images'], params['gt_per_image']])
    image = np.repeat(np.arange(num_images), params['rois'] // num_images)
    assigned = case.arrays['assigned_gt']
    object_idx = np.where(assigned >= 0, assigned + num_objects * image, -1)
    of_objects = np.take_along_axis(case.arrays['gt_labels'].reshape(num_steps, -1), object_idx.clip(0), 1)
    case.check('label', label[:, : params['rois']], np.where(assigned >= 0, of_objects, params['num_classes']))
    loss = dict(
        feat_dim=params['in_channels'],
        momentum=1 - params['alpha'],
        background_score=params['bg_score'],
        loss_weight=params['loss_cls']['loss_weight'],
    )
    return train_classifier(
        case,
        'lvis/loce_r50.py',
        loss,
        ['loss_cls'],
        {'loss_cls.mean_score': lambda loss: loss.objective.mean_score},
        num_added=params['memory_classes'] * params['memory_features'],
        model=dict(type='ltmm.BoxClassifierWithMemory', object_idx=object_idx.tolist()),
        watch=['loss_cls.mean_score'],
    )


@adaptor('trajectory_bacl_fcbl', ignores=dict(IGNORED, **LABELS, bias='a number that `init` gives'))
def bacl(case: Case) -> dict[str, Any]:
    params = case.params
    case.check('sigmoid', params['loss_cls']['use_sigmoid'], True)
    loss = {name: value for name, value in params['loss_cls'].items() if name not in ('type', 'use_sigmoid')}
    loss |= dict(feat_dim=params['in_channels'], reweight_epoch=params['reweight_step'] - 1, num_drawn_classes=0)
    state = {
        'loss_cls.cm_numerator': lambda loss: loss.objective.loss.confusion.scores,
        'loss_cls.num_gt': lambda loss: loss.objective.loss.confusion.counts,
    }
    return train_classifier(case, 'lvis/bacl_r50.py', loss, ['loss_cls'], state)


DRAWN = dict(seed_others='what the others were drawn with', bias='a number that `init` gives')


@adaptor('trajectory_bags', ignores=dict(IGNORED, **LABELS, **DRAWN))
def bags(case: Case) -> dict[str, Any]:
    params, num_classes = case.params, case.params['num_classes']
    case.check('softmax', params['loss_cls']['use_sigmoid'], False)
    loss = dict(loss_weight=params['loss_cls']['loss_weight'], beta=params['others_sample_ratio'])
    ours = MODELS.build(dict(type='ltmm.BalancedGroupSoftmaxLoss', class_counts=params['instance_counts']))
    *groups, objectness = ours.group_target.roll(1, 0).T  # theirs: background is label 0, objectness the first group
    case.check('label2binlabel', torch.stack([1 - objectness, *groups]), case.arrays['label2binlabel'])
    sizes = [2, *ours.group_sizes[:-1]]
    case.check('pred_slice', np.column_stack([np.cumsum([0, *sizes[:-1]]), sizes]), case.arrays['pred_slice'])
    steps = iter(case['group_weights'].transpose(1, 2))  # (N, 1 + G)

    def given_others(target: Tensor, weight: Tensor, beta: float) -> Tensor:
        return checked_others(case, target, weight, beta, next(steps)[:, 1:])

    terms = ['objectness', *(f'group{g}' for g in range(len(groups)))]
    with mock.patch('ltmm.models.losses.detection.bags_loss.sample_others', given_others):
        result = train_classifier(
            case,
            'lvis/bags_r50.py',
            loss,
            [f'loss_cls_{term}' for term in terms],
            {},
            params['instance_counts'],
            labels=(case.arrays['labels'] - 1) % (num_classes + 1),
            columns=torch.cat([ours.group_columns[-2:].flip(0), ours.group_columns[:-2]]),
        )
    return dict(result, eval_scores=result['eval_scores'].roll(1, 1))


@adaptor(
    'trajectory_gol_gumbel', ignores=dict(IGNORED, bias=DRAWN['bias'], **{'loss_cls.version': 'of the image counts'})
)
def gol_gumbel(case: Case) -> dict[str, Any]:
    params = case.params
    given = params['loss_cls']
    loss, counts = dict(loss_weight=given['loss_weight']), params['image_counts']
    if given['type'] == 'GumbelCE':
        return train_classifier(case, 'lvis/gumbel_r50.py', loss, ['loss_cls'], {}, counts)
    case.check('sigmoid', given['use_sigmoid'], True)
    loss |= dict(lambda_=given['lambda_'], activation=given['use_classif'])
    shape, steps = (params['rois'], params['num_classes']), itertools.count(params['seed_u'])

    def given_numbers(score: Tensor) -> Tensor:
        return torch.from_numpy(np.random.RandomState(next(steps)).random_sample(shape))

    config = 'lvis/gol_r50_2x.py' if given['use_classif'] == 'gumbel' else 'lvis/droploss_r50_2x_v0.5.py'
    counts = dict(instance_counts=counts, image_counts=counts, num_images=params['num_images'])
    with mock.patch.object(torch, 'rand_like', given_numbers):
        return train_classifier(case, config, loss, ['loss_cls'], {}, counts)
