"""De-confounded training and prediction of the total direct effect, with the two-branch network."""

from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from ltmm.models.layers.causal_cosine import RunningDirection

from ..frame import Case, adaptor
from .frame import Given, Training, train
from .weights import cifar_depth, compare_state, draw_state, rule_of_name

NOT_USED = {'scheduler.*': 'of a schedule that is not in use'}  # that in use is read


@adaptor('trajectory_causal_tde', ignores=NOT_USED)
def causal_tde(case: Case) -> dict[str, Any]:
    params, arrays, means = case.params, case.arrays, RecordedMeans()
    entries = [(i, name, shape, rule_of_name(name, shape)) for i, name, shape in params['state']]
    data = Given(
        class_counts=params['counts'],
        labels=arrays['label'].tolist(),
        epoch_of_step=arrays['epoch'].tolist(),
        max_epochs=params['num_epochs'],
        seed_x=params['seed_x'],
        optimizer=dict(params['optim']),
        weights=draw_state(entries, params['seed_w']) | {'embed_mean': torch.zeros(_width(entries))},
        transposed=set(),
    )
    case.check('batch', arrays['label'].shape[1], params['batch'])
    steps = [step // params['steps_per_epoch'] for step in range(len(data.labels))]
    case.check('steps_per_epoch', steps, data.epoch_of_step)
    config, overrides = _schedule(case)
    names = {'num_heads': 'num_head', 'scale': 'tau', 'alpha': 'alpha', 'gamma': 'gamma'}
    overrides |= {f'model.head.classifier.{ours}': params[theirs] for ours, theirs in names.items()}
    overrides |= {'model.head.in_channels': _width(entries), 'model.neck': None}
    overrides['model.backbone'] = dict(type='ltmm.TwoBranchResNetCIFAR', depth=cifar_depth(entries), _delete_=True)
    with mock.patch.object(RunningDirection, 'update', means.update):
        training = train(data, config, our_name, overrides)
    end = training.state(training.end)
    compare_state(case, 'final', (end[name] for _, name, *_ in entries))
    _compare_logits(case, training)
    return dict(
        loss=training.losses['loss'],
        lr=training.lr,
        mu=means.momentum,
        embed_mean_norm=means.norm,
        embed_mean=end['embed_mean'],
        eval_features=training.predict(lambda model, images: model.extract_feat(images, stage='pre_logits')),
        eval_logits_no_effect=training.predict(lambda model, images: _logits(model, images, shift=0.0)),
    )


def our_name(name: str) -> str:
    name = name.replace('feat_model.cb_block', 'backbone.branches.0').replace(
        'feat_model.rb_block', 'backbone.branches.1'
    )
    name = name.replace('feat_model.', 'backbone.').replace('classifier.', 'head.fc.')
    return 'head.fc.embedding.total' if name == 'embed_mean' else name


class RecordedMeans:
    """Momentum of each update of the running mean, and the norm after it. The mean is float64, as in the case."""

    def __init__(self) -> None:
        self.momentum: list[float] = []
        self.norm: list[float] = []
        self._update = RunningDirection.update

    @property
    def update(self) -> Any:
        def update(state: RunningDirection, x: Tensor) -> None:
            if state.training:
                state.total = state.total.double()
                self._update(state, x)
                self.momentum.append(state.current_momentum())
                self.norm.append(state.total.norm().item())

        return update


def _width(entries: list) -> int:
    return next(shape[1] for _, name, shape, _ in entries if name == 'classifier.weight')


def _schedule(case: Case) -> tuple[str, dict[str, Any]]:
    """The shipped config of the data set, whose running mean follows the rate off CIFAR, under the case's schedule.

    The authors step it before each epoch: epoch e has the factor of e + 1.
    """
    schedule, is_cifar = case.params['scheduler'], 'CIFAR' in case.params['dataset']
    if schedule['coslr']:
        steps = [dict(type='ltmm.ShiftedCosineLR', reaches_zero=True, eta_min=schedule['endlr'])]
    elif schedule.get('warmup'):
        warm_up, milestones = schedule['warm_epoch'], [epoch - 1 for epoch in schedule['lr_step']]
        steps = [
            dict(type='LinearLR', start_factor=1 / 3 + 2 / 3 / warm_up, end=warm_up),
            dict(type='MultiStepLR', milestones=milestones, gamma=schedule['lr_factor']),
        ]
    else:
        size = schedule['step_size']
        milestones = [*range(size - 1, case.params['num_epochs'], size)]
        steps = [dict(type='MultiStepLR', milestones=milestones, gamma=schedule['gamma'])]
    config = 'cifar100_lt/causal_tde_r32_bbn.py' if is_cifar else 'imagenet_lt/causal_tde_rx50.py'
    return config, {'param_scheduler': steps}


def _compare_logits(case: Case, training: Training) -> None:
    """Compare the predictions at the alpha of the training and at others."""
    case.check('eval_logits_tde', training.predict(), case.arrays['eval_logits_tde'])
    for alpha in case.params['alphas']:
        name = f'eval_logits_tde_alpha_{alpha}'
        got = training.predict(lambda model, images, alpha=alpha: _logits(model, images, shift=-alpha))
        case.check(name, got, case.arrays[name])


def _logits(model: nn.Module, images: Tensor, shift: float) -> Tensor:
    return model.head.fc.logits(model.extract_feat(images, stage='pre_logits'), shift)[1]
