"""SSP: pre-training by rotations, then a training that takes over the backbone."""

from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmengine.config import Config
from torch import Tensor
from toy import ROOT, read_config

from ltmm.engine.stages import PretrainStage
from ltmm.models.classifiers import rotation_pretrainer
from ltmm.models.classifiers.rotation_pretrainer import draw_quarter_turns

from ..frame import Case, adaptor
from .frame import WORDS, Given, Training, train
from .ldam_drw import cosines
from .weights import TRANSPOSED, compare_state, draw_state

SECOND = dict(LDAM='cifar100_lt/ssp_rotation_ldam_drw_r32.py', CE='cifar100_lt/ssp_rotation_r32.py')


@adaptor('trajectory_ssp_rotation', ignores=WORDS)
def ssp_rotation(case: Case) -> dict[str, Any]:
    params, counts, labels = case.params, case.params['cls_num_list'], case.arrays['labels']
    steps, batch = params['steps_pretraining'], params['batch']
    case.check('labels', labels.shape, (params['steps'], batch))
    kind = params['loss_type']
    case.check('train_rule', [params['train_rule']] == [dict(LDAM='DRW', CE='None')[kind]], True)

    np.random.seed(params['seed_numpy'])
    rotations = [draw_quarter_turns(batch) for _ in range(steps)]
    with mock.patch.object(rotation_pretrainer, 'draw_quarter_turns', side_effect=rotations):
        first = _train(
            case, 'pretraining', 'cifar100_lt/rotation_r32_pretrain.py', [1] * 4, np.zeros((steps, batch), int)
        )
    compare_state(case, 'state_after_pretraining', _states(case, first, 'state_dict_pretraining'))
    overrides = {'custom_hooks': _hooks(SECOND[kind], counts), 'model.head.init_cfg': None}  # the classifier is given
    if kind == 'LDAM':
        overrides['model.head.loss.start_epoch'] = params['drw_epoch']
    else:
        case.check('drw_epoch', params['drw_epoch'], 0)
    second = _train(case, '', SECOND[kind], counts, labels, overrides, loaded=first.end.state_dict())
    compare_state(case, 'state_final', _states(case, second, 'state_dict'))
    return dict(
        rotations=torch.stack(rotations),
        loss_pretraining=first.losses['loss'],
        lr_pretraining=first.lr,
        loss=second.losses['loss'],
        lr=second.lr,
        eval_output=second.predict(cosines),
    )


def _our_name(name: str) -> str:
    return f'head.{name}' if name.startswith('fc.') else f'backbone.{name}'


def _train(
    case: Case,
    stage: str,
    config: str,
    class_counts: Sequence[int],
    labels: np.ndarray,
    overrides: dict | None = None,
    loaded: dict[str, Tensor] | None = None,
) -> Training:
    params, entries = case.params, case.params['state_dict_pretraining' if stage else 'state_dict']
    assert params['blocks'] == [1, 1, 1]  # a ResNet-8
    given = Given(
        class_counts=class_counts,
        labels=labels.tolist(),
        epoch_of_step=range(len(labels)),
        max_epochs=len(labels),
        seed_x=params['seed_x'],
        optimizer=dict(params['optimizer']),
        weights=draw_state(entries, params['seed_w'] + (0 if stage else 5000)),
        transposed={name for _, name, _, rule in entries if rule in TRANSPOSED},
        first_step=0 if stage else 500,
        loaded=loaded,
    )
    schedule = {'model.backbone.depth': 8, 'param_scheduler.1.milestones': params['drops_after_epoch']}
    return train(given, config, _our_name, schedule | (overrides or {}))


def _hooks(config: str, class_counts: Sequence[int]) -> list[dict]:
    """Hooks of the stage after the pre-training."""
    cfg = read_config(ROOT / 'configs' / config)
    stage = dict(cfg.stages[0], cfg=Config(dict(train_cfg={}, model=cfg.model)), folder=ROOT, name='pretrain')
    assert stage.pop('type') == 'ltmm.PretrainStage' and stage.pop('config').endswith('rotation_r32_pretrain.py')
    PretrainStage(**stage).prepare_next(cfg)
    counts = {'ltmm.ClassDistributionHook': dict(class_counts=class_counts)}
    return [{**hook, **counts.get(hook['type'], {})} for hook in cfg.custom_hooks]


def _states(case: Case, training: Training, key: str) -> list[Tensor]:
    state = training.state(training.end)
    return [state[name] for _, name, _, _ in case.params[key]]
