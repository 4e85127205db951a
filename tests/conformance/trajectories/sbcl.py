"""SBCL: SupCon and sub-classes on views, KCL and sub-classes on a queue; the clusters are given."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from mmpretrain.structures import DataSample
from torch import Tensor, nn
from torch.utils.data import Dataset, Sampler

from ltmm.models.losses.contrastive import kcl_loss, subclass_balanced_contrastive_loss
from ltmm.registry import DATA_SAMPLERS, DATASETS

from ..frame import Case, adaptor
from .frame import WORDS, Given, Training, train
from .weights import EVALUATION, compare_state, draw_images, draw_state

LOSS = 'head.loss_module.'
HYPER = 'model.head.loss.'
NO_SUBCLASSES = {
    'subclass.values': torch.zeros(0, dtype=torch.int64),
    'temperatures.values': torch.zeros(0, dtype=torch.float64),
}


@DATASETS.register_module()
class GivenSubclassImages(Dataset):
    """Two views of the images of all steps; with ``test_mode`` the first view of each image of the training set.

    Args:
        labels: Of the images of the training set.
        indices: Which of them a step has, (steps, N).
        seed: Of the images.
        by_step: Draw the images of a step at a time, as the MoCo part does, not each image of the training set.
        test_mode: See above.
    """

    def __init__(
        self, labels: list[int], indices: list[list[int]], seed: int, by_step: bool, test_mode: bool = False
    ) -> None:
        self.labels, self.indices, self.seed, self.by_step, self.test_mode = labels, indices, seed, by_step, test_mode
        self.metainfo: dict = {}

    def __len__(self) -> int:
        return len(self.labels) if self.test_mode else sum(map(len, self.indices))

    def __getitem__(self, item: int) -> dict:
        step, row = divmod(item, len(self.indices[0]))
        index = item if self.test_mode else self.indices[step][row]
        if self.by_step and not self.test_mode:
            views = [draw_images(self.seed, step, len(self.indices[0]), view=v)[row] for v in range(2)]
        else:
            views = [draw_images(self.seed, index, 1, view=v)[0] for v in range(2)]
        sample = DataSample(metainfo=dict(sample_idx=index)).set_gt_label(self.labels[index])
        return dict(inputs=views[0] if self.test_mode else views, data_samples=sample)


@DATA_SAMPLERS.register_module()
class GivenRows(Sampler):
    """One step per epoch, from the step ``first`` on."""

    def __init__(self, dataset: GivenSubclassImages, first: int = 0, seed: int | None = None) -> None:
        self.batch, self.first, self.epoch = len(dataset.indices[0]), first, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.batch

    def __iter__(self) -> Iterator[int]:
        start = (self.first + self.epoch) * self.batch
        yield from range(start, start + self.batch)


@contextmanager
def given_clusters(case: Case) -> Iterator[list[list[Tensor]]]:
    """Give the clusters in place of k-means; record the sub-classes and temperatures of each clustering."""
    module, recorded = subclass_balanced_contrastive_loss, []
    temperatures = module.class_temperatures

    def give(features: Tensor, label: Tensor, num_subclasses: Tensor, *args: Any) -> Tensor:
        case.check('cluster_number', num_subclasses, case.params['cluster_number'])
        first = num_subclasses.cumsum(0) - num_subclasses
        subclass = first[label] + torch.as_tensor(case.arrays['cluster_ids'][len(recorded)])
        recorded.append([subclass])
        return subclass

    def record(*args: Any) -> Tensor:
        recorded[-1].append(temperatures(*args))
        return recorded[-1][1]

    with mock.patch.object(module, 'split_classes', give), mock.patch.object(module, 'class_temperatures', record):
        yield recorded


def _given(case: Case, weights: dict[str, Tensor], epochs: int, **kwargs: Any) -> Given:
    """Weights and epochs; the images come from :class:`GivenSubclassImages`."""
    params = case.params
    return Given(
        class_counts=params['cls_num_list'],
        labels=[[0] * params['batch']],
        epoch_of_step=range(epochs),
        max_epochs=epochs,
        seed_x=params['seed_x'],
        optimizer=dict(params['optimizer']),
        weights=weights,
        transposed=set(),
        **kwargs,
    )


def _overrides(case: Case, by_step: bool, first: int = 0) -> dict[str, Any]:
    params, counts = case.params, case.params['cls_num_list']
    blocks = params['blocks']
    assert blocks == [blocks[0]] * 3
    data = dict(
        type='ltmm.GivenSubclassImages',
        labels=np.repeat(np.arange(len(counts)), counts).tolist(),
        indices=case.arrays['indices'].tolist(),
        seed=params['seed_x'],
        by_step=by_step,
    )
    return {
        'model.backbone.depth': 6 * blocks[0] + 2,
        'train_dataloader.dataset': dict(data, _delete_=True),
        'train_dataloader.sampler': dict(_delete_=True, type='ltmm.GivenRows', first=first),
    }


# ---------------------------------------------------------------------- on views


@adaptor('trajectory_sbcl', ignores=WORDS, slow=True)
def sbcl(case: Case) -> dict[str, Any]:
    params = case.params
    rate = params['optimizer']['lr']
    schedule = dict(
        type='ltmm.WarmupToCosineLR',
        convert_to_iter_based=True,
        warmup_epochs=params['warm_epochs'],
        start_factor=params['warmup_from'] / rate,
        eta_min_ratio=params['lr_decay_rate'] ** 4,
        as_published=True,
    )
    loss = dict(
        feat_dim=params['feat_dim'],
        temperature=params['temperature'],
        base_temperature=params['base_temperature_rank_and_ccl'],
        class_term_weight=params['gamma'],
        class_term='supcon' if params['train_rule'] == 'ccl' else 'other_subclasses',
        warmup_epochs=params['warm_epochs'],
        interval=params['step'],
        min_size=params['min_cluster_size'],
        augmented=False,  # which is the same here
    )
    weights = draw_state(params['state_dict'], params['seed_w'])
    unused = {name: weights.pop(name) for name in [*weights] if name.startswith('encoder.linear')}
    weights |= NO_SUBCLASSES
    data = _given(case, weights, params['steps'], unused=unused)
    overrides = _overrides(case, by_step=False) | {HYPER + name: value for name, value in loss.items()}
    with given_clusters(case) as clusterings:
        training = train(
            data, 'cifar100_lt/sbcl_r32_stage1.py', _name_on_views, overrides | dict(param_scheduler=[schedule])
        )
    state = training.state(training.end)
    compare_state(case, 'state_final', (state[name] for _, name, _, _ in params['state_dict']))
    subclass, temperatures = zip(*clusterings)
    outputs = dict(density=torch.stack(temperatures)) if 'density' in case else {}
    features = _features(training, training.end.extract_feat)
    return outputs | dict(
        loss=training.losses['loss'],
        lr=training.lr,
        subclass_ids_last=subclass[-1],
        eval_projection=F.normalize(training.end.head.loss_module.projector(features), dim=1),
        eval_features=features,
    )


def _name_on_views(name: str) -> str:
    if name.startswith('head.'):
        return f'{LOSS}projector.{name.removeprefix("head.")}'
    if name in ('subclass.values', 'temperatures.values'):
        return LOSS + name
    return name.replace('encoder.', 'backbone.', 1)


# ---------------------------------------------------------------------- on a queue


@adaptor('trajectory_sbcl_moco', ignores=WORDS | dict(encoder='the same as ResNetCIFAR'), slow=True)
def sbcl_moco(case: Case) -> dict[str, Any]:
    params, entries = case.params, case.params['state_dict']
    half, size = params['steps'] // 2, params['K']
    weights = draw_state(entries, params['seed_w'])
    queue = dict(
        features=weights.pop('queue').T,
        labels=weights.pop('queue_t').flatten().long(),
        cursor=weights.pop('queue_ptr').long().squeeze(),
        num_filled=torch.tensor(size),  # the random vectors count
    )
    weights |= {f'queue.{name}': value for name, value in queue.items()}
    weights |= {f'{name}.steps': torch.tensor(0) for name in ('key_network', 'key_projector')}
    sub_labels = {'queue.sub_labels': weights.pop('queue_l').flatten().long()}
    changes = {
        'model.backbone': dict(_delete_=True, type='ltmm.ResNetCIFAR', depth=8),
        'model.neck': None,
        'model.momentum': params['m'],
    }
    loss = dict(in_channels=64, feat_dim=params['dim'], queue_size=size, temperature=params['T'])
    changes |= {HYPER + name: value for name, value in loss.items()}

    draws = iter(case['kcl_rand'])
    with mock.patch.object(kcl_loss, 'draw_uniform', lambda num, mask: next(draws)):
        overrides = _overrides(case, by_step=True) | changes | {HYPER + 'num_positives': params['k']}
        first = train(_given(case, weights, half), 'imagenet_lt/kcl_r50_stage1.py', _name_on_queue, overrides)

    loss = dict(
        class_temperature=params['ranking_temperature'],
        class_term_weight=params['gamma'],
        interval=params['step'],
        min_size=params['min_cluster_size'],
        augmented=False,
    )
    overrides = _overrides(case, by_step=True, first=half) | changes
    overrides |= {HYPER + name: value for name, value in loss.items()}
    given = _given(case, weights | sub_labels | NO_SUBCLASSES, half, loaded=first.end.state_dict())
    with given_clusters(case):
        second = train(given, 'imagenet_lt/sbcl_r50_stage2.py', _name_on_queue, overrides)

    state, objective = second.state(second.end), second.end.head.loss_module
    state |= dict(
        queue=state['queue.features'].T,
        queue_l=state['queue.sub_labels'].unsqueeze(0),
        queue_t=state['queue.labels'].unsqueeze(0),
        queue_ptr=state['queue.cursor'],
    )
    compare_state(case, 'state_final', (state[name] for _, name, _, _ in entries))
    key = objective.key_projector(_features(second, second.end.key_network))
    return dict(
        loss=first.losses['loss'] + second.losses['loss'],
        lr=first.lr + second.lr,
        queue_subclass_final=state['queue_l'],
        queue_class_final=state['queue_t'],
        eval_key_normalised=F.normalize(key, dim=1),
        eval_query=objective.projector(_features(second, second.end.extract_feat)),
    )


def _name_on_queue(name: str) -> str:
    part, _, rest = name.partition('.')
    if name == 'key_network.steps':
        return name
    if part in ('queue', 'key_projector', 'subclass', 'temperatures'):
        return LOSS + name
    if rest.startswith('fc.'):
        projector = 'key_projector.module.' if part == 'encoder_k' else 'projector.'
        return LOSS + projector + rest.removeprefix('fc.')
    return ('key_network.module.0.' if part == 'encoder_k' else 'backbone.') + rest


@torch.no_grad()
def _features(training: Training, network: nn.Module) -> Tensor:
    images = draw_images(training.given.seed_x, EVALUATION, len(training.given.labels[0]))
    return training.end.head.pre_logits(network(images))
