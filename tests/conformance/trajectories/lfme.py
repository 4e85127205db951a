"""LFME: the student of three given experts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from ltmm.class_distribution import SHOT_NAMES
from ltmm.models.losses import LFMELoss
from ltmm.models.losses.distillation.lfme_loss import scheduled_weights
from ltmm.registry import DATA_SAMPLERS, DATASETS

from ..adaptors.experts import GROUPS
from ..frame import Case, adaptor
from .frame import WORDS, Given, train
from .weights import compare_state, draw_state

VALIDATION = 300000  # added to the seed of the training images
OUR_PARTS = {'feat_model.fc_add': 'neck.fc', 'feat_model': 'backbone', 'classifier': 'head'}
STATE = {  # of our loss, before the first step
    'head.loss_module.expert_weight': torch.ones(3, dtype=torch.float64),
    'head.loss_module.curriculum.values': torch.zeros(0, dtype=torch.float64),
}


@DATASETS.register_module()
class NumberedImages(Dataset):
    """Images that are drawn from a seed each."""

    def __init__(self, labels: Sequence[int], seed: int, test_mode: bool = False) -> None:
        self.labels, self.seed, self.metainfo = labels, seed, {}

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        image = np.random.RandomState(self.seed + index).standard_normal((3, 32, 32))
        sample = DataSample(metainfo=dict(sample_idx=index)).set_gt_label(self.labels[index])
        return dict(inputs=torch.from_numpy(image), data_samples=sample)


@DATA_SAMPLERS.register_module()
class GivenIndices(Sampler):
    """Samples the images of each epoch."""

    def __init__(self, dataset: Dataset, indices: Sequence[Sequence[int]], seed: int | None = None) -> None:
        self.indices, self.epoch = indices, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.indices[0])

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices[self.epoch])


@adaptor('trajectory_lfme', ignores=WORDS, slow=True)
def lfme(case: Case) -> dict[str, Any]:
    params, indices = case.params, case.arrays['indices']
    steps, counts = params['steps'], params['cls_num_list']
    case.check('indices', indices.shape, (steps, params['batch']))
    labels = np.repeat(np.arange(len(counts)), counts)
    state = draw_state(params['state_dict'], params['seed_w'])
    student = {name: value for name, value in state.items() if name.startswith('student.')}
    given = Given(
        class_counts=counts,
        labels=labels[indices].tolist(),
        epoch_of_step=range(steps),
        max_epochs=steps,
        seed_x=params['seed_x'],
        optimizer=dict(params['optimizer']),
        weights=student | STATE,
        transposed=set(),
    )
    records: dict[str, list] = dict(u=[], omega=[], loss_distill=[], figures=[])
    with TemporaryDirectory() as folder, _recording(records):
        training = train(given, 'imagenet_lt/lfme_r10.py', _our_name, _overrides(case, labels, state, folder))
    end, objective = training.state(training.end), training.end.head.loss_module
    compare_state(case, 'state_final', (end[name] for name in student))
    for group, classes in params['shot_list'].items():
        case.check(group, (objective.group == SHOT_NAMES.index(_ours(group))).nonzero().squeeze(1), sorted(classes))
    order = [SHOT_NAMES.index(_ours(group)) for group in params['shot_order']]
    figures = {kind: ['top1', *(_ours(group) for group in params['shot_order'])] for kind in ('long_tail', 'teacher')}
    accuracy = {
        kind: np.array([[epoch.get(f'{kind}/{name}', np.nan) for name in names] for epoch in records['figures']]) / 100
        for kind, names in figures.items()
    }
    return dict(
        loss=training.losses['loss'],
        loss_perf=training.losses['loss_cls'],
        loss_distill=torch.stack(records['loss_distill'])[:, order],
        omega=torch.stack(records['omega'])[:, order],
        lr=np.transpose([training.lr] * 2),  # of features and classifier
        u=torch.stack(records['u']),
        val_acc=accuracy['long_tail'],
        expert_val_acc=accuracy['teacher'][-1, 1:],
        instance_weights=objective.curriculum.values,
        eval_output=training.predict(),
    )


def _recording(records: dict[str, list]) -> Any:
    """Record what the loss weighs by in each step, the distillation without weights, and the figures it is told."""
    terms, on_metrics = LFMELoss.terms, LFMELoss.on_metrics

    def recording_terms(self: LFMELoss, inputs: Any) -> dict[str, Tensor]:
        weight = self.expert_weight.clone()
        with torch.no_grad():
            self.expert_weight.fill_(1)
            plain = terms(self, inputs)
            self.expert_weight.copy_(weight)
        records['loss_distill'].append(torch.stack([plain[f'loss_{name}'] for name in SHOT_NAMES]))
        records['omega'].append(weight)
        records['u'].append(scheduled_weights(self.curriculum.read(inputs.sample_idx), self.epoch + 1, self.max_epochs))
        return terms(self, inputs)

    def recording_metrics(self: LFMELoss, figures: dict[str, float]) -> None:
        records['figures'].append(figures)
        on_metrics(self, figures)

    return mock.patch.multiple(LFMELoss, terms=recording_terms, on_metrics=recording_metrics)


def _overrides(case: Case, labels: np.ndarray, state: dict[str, Tensor], folder: str) -> dict[str, Any]:
    params = case.params
    teachers = {}
    for group in params['shot_list']:
        weights = {_our_name(name): value for name, value in state.items() if name.startswith(f'{group}.')}
        checkpoint = Path(folder, f'{group}.pth')
        torch.save(dict(state_dict=weights), checkpoint)
        teachers[_ours(group)] = dict(num_classes=len(weights['head.fc.bias']), checkpoint=str(checkpoint))
    images = dict(_delete_=True, type='ltmm.NumberedImages')
    val_labels = case.arrays['val_labels'].tolist()
    return {
        'model.teachers': dict(teachers, _delete_=True),
        'model.head.loss.temperature': params['T'],
        'model.head.loss.threshold': params['decay_thresh'],
        'param_scheduler.milestones': [
            milestone - 1 for milestone in params['milestones']
        ],  # they step before an epoch
        'param_scheduler.gamma': params['gamma'],
        'train_dataloader.dataset': dict(images, labels=labels.tolist(), seed=params['seed_x']),
        'train_dataloader.sampler': dict(
            _delete_=True, type='ltmm.GivenIndices', indices=case.arrays['indices'].tolist()
        ),
        'val_dataloader': dict(
            _delete_=True,
            batch_size=10,
            num_workers=0,
            collate_fn=dict(type='default_collate'),
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(type='ltmm.NumberedImages', labels=val_labels, seed=params['seed_x'] + VALIDATION),
        ),
        'val_cfg': dict(_delete_=True),
        'val_evaluator': [dict(type='ltmm.LongTailMetric', convention='oltr'), dict(type='ltmm.TeacherMetric')],
        'train_cfg.val_interval': 1,
    }


def _ours(group: str) -> str:
    return dict(zip(GROUPS, SHOT_NAMES))[group]


def _our_name(name: str) -> str:
    if name in STATE:
        return name
    name = name.partition('.')[2]  # without the network: the student or an expert
    part = next(part for part in OUR_PARTS if name.startswith(part + '.'))
    return OUR_PARTS[part] + name.removeprefix(part)
