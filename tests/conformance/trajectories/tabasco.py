"""TABASCO: warm-up of two networks, and an epoch in which they divide the data for each other."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.data import Dataset

from ltmm.datasets.samplers import CoDivideBatchSampler
from ltmm.models.classifiers import CoDivideClassifier, co_divide_classifier
from ltmm.models.state.train_features import TrainFeatures
from ltmm.registry import DATASETS

from ..frame import Case, adaptor
from .frame import WORDS, Given, Training, train
from .weights import EVALUATION, compare_state, draw_state, rule_of_name

SECOND_SET, VIEWS = 500000, 100000  # added to the seed of the images
STATE = {'clean.values': torch.zeros(0, 2, dtype=torch.float64)}  # before the first selection


@DATASETS.register_module()
class PatternImages(Dataset):
    """Images that are a pattern of their class and noise of their own, as the test transforms give them."""

    def __init__(
        self, labels: Sequence[int], true: Sequence[int], params: dict, offset: int = 0, test_mode: bool = False
    ) -> None:
        self.labels, self.true, self.params, self.offset, self.metainfo = labels, true, params, offset, {}

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, i: int) -> Tensor:
        seeds = self.params['seed_m'] + self.true[i], self.params['seed_x'] + self.offset + i
        pattern, noise = (_normal(seed, 3, 32, 32) for seed in seeds)
        return self.params['pattern'] * pattern + noise

    def __getitem__(self, i: int) -> dict:
        sample = DataSample(metainfo=dict(sample_idx=i)).set_gt_label(self.labels[i])
        return dict(inputs=self.image(i), data_samples=sample)


@adaptor('trajectory_tabasco', ignores=WORDS, slow=True)
def tabasco(case: Case) -> dict[str, Any]:
    params, records = case.params, {}
    with divided(case, records):
        training = run(case)
    end, steps = training.state(training.end), len(case.arrays['loss'])
    compare_state(case, 'final', (end[name] for _, name, _ in params['state']))
    theirs = case.arrays['selected'] * case.arrays['probability']
    case.check('probability', records['probability'], theirs)  # of those that are not selected it is not used
    losses = {name: values[-steps:] for name, values in training.losses.items()}
    case.check('weighted', losses['loss_unlabeled'], case.arrays['lambda'] * case.arrays['loss_unlabelled'])
    images = PatternImages(*_labels(case), _plain(params))
    evaluated = torch.stack([images.image(i) for i in range(8)])
    evaluated += params['jitter'] * _normal(params['seed_x'] + EVALUATION, 8, 3, 32, 32)
    with torch.no_grad():
        logits = 2 * training.end(evaluated)  # the sum in place of the mean
    return {
        'warmup_loss': training.losses['loss'][:-steps],
        'loss_labelled': losses['loss_labeled'],
        'loss_unlabelled': records['loss_unlabeled'],
        'lambda': losses['unlabeled_weight'],
        'loss': losses['loss'],
        'mix_lambda': records['mix_lambda'],
        'selected': np.array(records['selected'], dtype=int),
        'eval_logits': logits,
    }


def run(case: Case) -> Training:
    """Train by the shipped config."""
    params, (labels, true) = case.params, _labels(case)
    entries = [(i, name, shape, rule_of_name(name, shape)) for i, name, shape in params['state']]
    given = Given(
        class_counts=np.bincount(labels, minlength=len(params['counts'])).tolist(),
        labels=[[0] * params['batch']],
        epoch_of_step=[],
        max_epochs=params['epochs'],
        seed_x=params['seed_x'],
        optimizer=dict(lr=params['lr']),
        weights=draw_state(entries, params['seed_w']) | STATE,
        transposed=set(),
    )
    images = dict(_delete_=True, type='ltmm.PatternImages', labels=labels, true=true, params=_plain(params))
    overrides = {
        'model.backbone.num_blocks': [1, 1, 1, 1],
        'model.selector.batch_size': params['batch'],  # that of their loaders of single classes too
        'model.warmup_epochs': params['warm_up'],
        'model.temperature': params['T'],
        'model.alpha': params['alpha'],
        'model.unlabeled_weight': params['lambda_u'],
        'train_dataloader.dataset': images,
        'train_dataloader.sampler': dict(_delete_=True, type='DefaultSampler', shuffle=True),
    }
    return train(given, 'cifar100_lt_noisy/tabasco_pr18.py', _our_name, overrides)


@contextmanager
def divided(case: Case, records: dict[str, Any]) -> Iterator[None]:
    """Let the classifier take the orders, images, draws and selections of a case.

    Args:
        case: the case.
        records: gets what the training does not log, and the selections of ltmm.
    """
    params, (labels, true) = case.params, _labels(case)
    records |= dict(loss_unlabeled=[], mix_lambda=[], selected=[], probability=[], batch=0)
    loss, on_features = CoDivideClassifier.loss, CoDivideClassifier.on_train_features
    terms_of = co_divide_classifier.mixmatch_terms
    second = PatternImages(labels, true, _plain(params), SECOND_SET)

    def order(self: CoDivideBatchSampler, k: int, samples: np.ndarray, part: int, repeat: int = 0) -> np.ndarray:
        seed = params['seed_o'] + 10 * self.sampler.epoch + k
        if part == 1:  # class by class
            samples = samples[np.argsort(np.array(labels)[samples], kind='stable')]
        permuted = samples[np.random.RandomState(seed + 2 * part).permutation(len(samples))]
        return permuted if part else permuted[: params['warm_batches'] * 2 * params['batch']]

    def views_of(plain: Tensor, first: int) -> list[Tensor]:
        seed = params['seed_x'] + VIEWS + 10 * records['batch'] + first
        return [plain + params['jitter'] * _normal(seed + v, *plain.shape) for v in range(2)]

    def loss_of_views(self: CoDivideClassifier, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        records['batch'] += 1
        num = self.step.num_labeled
        if num is None:
            (value,) = loss(self, views_of(inputs, 0)[0], data_samples).values()
            return dict(
                loss_labeled=value, loss_unlabeled=0 * value, loss_penalty=0 * value, unlabeled_weight=0 * value
            )
        views = zip(views_of(inputs[:num], 0), views_of(inputs[num:], 2))
        return loss(self, torch.cat([torch.cat(view) for view in views]), data_samples)

    def recorded_terms(*args: Any) -> dict[str, Tensor]:
        terms = terms_of(*args)
        records['loss_unlabeled'].append(terms['loss_unlabeled'].item())
        return terms

    def draw(self: CoDivideClassifier, num: int) -> tuple[float, Tensor]:
        generator = np.random.RandomState(params['seed_l'] + len(records['mix_lambda']))
        share = generator.beta(self.alpha, self.alpha)
        records['mix_lambda'].append(share)
        return max(share, 1 - share), torch.from_numpy(generator.permutation(num))

    def select(self: CoDivideClassifier, outputs: TrainFeatures) -> None:
        self.eval()
        images = torch.stack([second.image(i) for i in range(len(second))])
        centers = iter([self.features(k, images).mean(0) for k in range(2)])
        self.train()
        with mock.patch.object(self.selector, 'center', lambda features: next(centers)):
            on_features(self, outputs)
        records['selected'] += (self.clean.values > 0).T.tolist()
        records['probability'] += self.clean.values.T.tolist()
        first = 2 * (self.epoch - self.warmup_epochs)
        theirs = case['selected'] * case['probability']  # two rows an epoch; a wrong selection of ours fails as such
        self.clean.values = theirs[first : first + 2].T.contiguous()

    def random_state(self: CoDivideClassifier, seed: int, k: int) -> np.random.RandomState:
        return np.random.RandomState(params['seed_gmm'] + 10 * self.epoch + k)

    patches = dict(loss=loss_of_views, draw=draw, on_train_features=torch.no_grad()(select), random_state=random_state)
    with (
        mock.patch.multiple(CoDivideClassifier, **patches),
        mock.patch.object(CoDivideBatchSampler, 'order', order),
        mock.patch.object(co_divide_classifier, 'mixmatch_terms', recorded_terms),
    ):
        yield


def _labels(case: Case) -> tuple[list[int], list[int]]:
    """Noisy and true labels."""
    counts = case.params['counts']
    return case.arrays['noisy_label'].tolist(), np.repeat(np.arange(len(counts)), counts).tolist()


def _plain(params: Any) -> dict[str, float]:
    return {name: params[name] for name in ('seed_x', 'seed_m', 'pattern')}


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(seed).standard_normal(shape))


def _our_name(name: str) -> str:
    if name in STATE:
        return name
    network, _, parameter = name.partition('.')
    k = int(network.removeprefix('net')) - 1
    if parameter.startswith('linear.'):
        return f'head.fc.experts.{k}.{parameter.removeprefix("linear.")}'
    return f'backbone.experts.{k}.{parameter}'
