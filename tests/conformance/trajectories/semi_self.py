"""Rethinking the Value of Labels: a training after pre-training by rotations, and one on labels and pseudo-labels."""

from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from ltmm.datasets.labels.label_table import LabelTable
from ltmm.engine.stages.pseudo_label_stage import predict_labels
from ltmm.models.classifiers import rotation_pretrainer

from ..frame import Case, adaptor
from .frame import Given, Training, train
from .ldam_drw import cosines
from .ssp import _hooks, _our_name
from .weights import EVALUATION, compare_state, draw_images, draw_state, rule_of_name

SECOND = 'cifar100_lt/ssp_rotation_ldam_drw_r32.py'
EPOCHS = 200


@adaptor('trajectory_semi_self', slow=True)
def semi_self(case: Case) -> dict[str, Any]:
    params = case.params
    return dict(ssp=_after_rotations, semi=_with_pseudo_labels)[params['mode']](case)


def _after_rotations(case: Case) -> dict[str, Any]:
    params, batch, steps = case.params, case.params['batch'], len(case.arrays['epoch1'])
    rotations = list(case['rotation'][:, :batch])
    with mock.patch.object(rotation_pretrainer, 'draw_quarter_turns', side_effect=rotations):
        first = _train(case, 1, 'cifar100_lt/rotation_r32_pretrain.py', [1] * 4, np.zeros((steps, batch), int))
    loaded = first.end.state_dict()
    kept = {_our_name(name) for name in params['state']['stage2_loaded']}
    case.check('stage2_loaded', sorted(kept), sorted(name for name in loaded if name.startswith('backbone.')))
    case.check('pool_batches', params['pool_batches'] > 0, True)  # of the other mode
    case.check('colour', params['colour'] > 0, True)
    overrides = _second(case) | {'custom_hooks': _hooks(SECOND, params['counts'])}
    second = _train(case, 2, SECOND, params['counts'], case.arrays['label2'], overrides, loaded=loaded)
    return _results(case, first, second)


def _with_pseudo_labels(case: Case) -> dict[str, Any]:
    params, batch = case.params, case.params['batch']
    case.check('stage2_loaded', params['state']['stage2_loaded'], [])
    first = _train(case, 1, 'cifar100_lt_semi/ce_r32.py', params['counts'], case.arrays['label1'])
    pool = torch.cat([_pool(case, j) for j in range(params['pool_batches'])])  # (pool_batches N, 3, H, W)
    loader = mock.MagicMock(dataset=pool)
    loader.__iter__.return_value = iter(dict(inputs=images) for images in pool.split(batch))
    with mock.patch.object(Tensor, 'float', Tensor.double):
        pseudo = predict_labels(first.end, loader)
    tables = [
        LabelTable.from_labels(labels, len(params['counts']))
        for labels in (np.repeat(np.arange(len(params['counts'])), params['counts']), pseudo)
    ]
    counts = LabelTable.concatenate(tables).class_distribution().image_counts
    index = case.arrays['pool_index']
    label = np.where(index >= 0, pseudo[index], case.arrays['label2'])

    def images(seed: int, step: int, num: int, size: int = 32, view: int = 0) -> Tensor:
        drawn = draw_images(seed, step, num, size, view)
        if step == EVALUATION:
            return drawn
        rows = torch.from_numpy(index[step - 1000])
        return torch.where((rows >= 0)[:, None, None, None], pool[rows.clamp(min=0)], drawn)

    config = 'cifar100_lt_semi/pseudo_label_r32.py'
    with mock.patch('conformance.trajectories.frame.draw_images', images):
        second = _train(case, 2, config, counts.tolist(), label, _second(case))
    with torch.no_grad():
        pool_logits = torch.cat([first.end(part) for part in pool.split(batch)])
    return _results(case, first, second) | dict(pool_logits=pool_logits, pseudo_label=pseudo, joint_counts=counts)


def _pool(case: Case, number: int) -> Tensor:
    """The unlabeled images of a batch, each with its own color."""
    seed, batch = case.params['seed_x'], case.params['batch']
    tint = np.random.RandomState(seed + 4000 + number).standard_normal((batch, 3, 1, 1))
    return draw_images(seed, 3000 + number, batch) + case.params['colour'] * torch.from_numpy(tint)


def _second(case: Case) -> dict[str, Any]:
    case.check('loss', [case.params['loss_type'], case.params['train_rule']] == ['LDAM', 'DRW'], True)
    return {'model.head.init_cfg': None}  # the classifier is given


def _train(
    case: Case,
    stage: int,
    config: str,
    counts: list[int],
    labels: np.ndarray,
    overrides: dict | None = None,
    loaded: dict[str, Tensor] | None = None,
) -> Training:
    params, entries = case.params, case.params['state'][f'stage{stage}']
    is_cosine = [name for _, name, *_ in entries if name.startswith('fc.')] == ['fc.weight']
    transposed = {'fc.weight'} if is_cosine else set()
    rules = [
        (i, name, shape, 'in_out' if name in transposed else rule_of_name(name, shape)) for i, name, shape in entries
    ]
    given = Given(
        class_counts=counts,
        labels=labels.tolist(),
        epoch_of_step=case.arrays[f'epoch{stage}'].tolist(),
        max_epochs=EPOCHS,
        seed_x=params['seed_x'],
        optimizer=dict(type='SGD', lr=params['lr'], momentum=0.9, weight_decay=2e-4),
        weights=draw_state(rules, params['seed_w'] + (0 if stage == 1 else 500)),
        transposed=transposed,
        first_step=0 if stage == 1 else 1000,
        loaded=loaded,
    )
    return train(given, config, _our_name, {'model.backbone.depth': 8} | (overrides or {}))


def _results(case: Case, first: Training, second: Training) -> dict[str, Any]:
    for prefix, training, stage in (('stage1', first, 1), ('final', second, 2)):
        state = training.state(training.end)
        compare_state(case, prefix, (state[name] for _, name, _ in case.params['state'][f'stage{stage}']))
    return dict(
        loss1=first.losses['loss'],
        lr1=first.lr,
        loss2=second.losses['loss'],
        lr2=second.lr,
        eval_logits_stage1=first.predict(lambda model, images: model.head(model.extract_feat(images))),
        eval_logits=second.predict(cosines),
    )
