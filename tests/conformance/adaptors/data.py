"""Data: long-tailed versions of balanced datasets, samplers, repeat factors."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from ltmm.datasets.wrappers.long_tailed import long_tailed_counts
from ltmm.registry import DATA_SAMPLERS, DATASETS

from ..frame import Case, adaptor


class InMemory(BaseDataset):
    """A dataset of labels alone.

    Args:
        labels: the labels of each sample: one number, or a list.
        num_classes: C.
    """

    def __init__(self, labels: Sequence, num_classes: int) -> None:
        self.labels = labels
        super().__init__(metainfo=dict(classes=[f'class {c}' for c in range(num_classes)]))

    def load_data_list(self) -> list[dict]:
        return [dict(gt_label=label) for label in self.labels]


def sampler_over(dataset: BaseDataset, **cfg: Any) -> Any:
    return DATA_SAMPLERS.build(dict(cfg, dataset=dataset))


@adaptor('cifar_lt_generation')
def cifar_lt_generation(case: Case) -> dict[str, Any]:
    imbalance_factor = 1 / Fraction(case.params['imb_factor'])  # exact, so that its inverse is the authors' number
    num_classes = len(case.arrays['counts'])
    if 'targets' not in case:  # counts alone; the head class keeps all of its images
        head, profile = case.arrays['counts'].max(), case.params.get('imb_type', 'exp')
        return dict(counts=long_tailed_counts(head, num_classes, imbalance_factor, profile))
    dataset = DATASETS.build(
        dict(
            type='ltmm.LongTailed',
            dataset=InMemory(case.arrays['targets'].tolist(), num_classes),
            imbalance_factor=imbalance_factor,
            profile=case.params['imb_type'],
            seed=case.params['rand_number'],
        )
    )
    return dict(counts=np.bincount(dataset.get_gt_labels(), minlength=num_classes), selected=dataset.indices)


@adaptor(
    'samplers_decoupling',
    ignores=dict(
        classaware_stream="drawn by Python's generator, ours by NumPy's; compared is which classes come in a row and "
        'how often the samples of a class come, not which of them first'
    ),
)
def samplers_decoupling(case: Case) -> dict[str, Any]:
    labels, num_classes = case.arrays['labels'], len(case.params['class_counts'])
    epochs, theirs = case.params['epochs'], case.arrays['classaware_stream']
    dataset = InMemory(labels.tolist(), num_classes)
    progressive = sampler_over(dataset, type='ltmm.ProgressivelyBalancedSampler', total_epochs=epochs)

    in_a_row = int((labels[theirs] != labels[theirs[0]]).argmax())
    class_aware = dict(type='ltmm.ClassAwareSampler', num_samples_per_class=in_a_row, seed=case.params['py_seed'])
    theirs = theirs[: len(theirs) // (num_classes * in_a_row) * num_classes * in_a_row]  # whole cycles over the classes
    ours = np.array(list(sampler_over(dataset, **class_aware, length=len(theirs))))
    case.check('classes of a cycle', *(visited_classes(x, labels, num_classes, in_a_row) for x in (ours, theirs)))
    case.check('draws of the samples of a class', *(draws_of_samples(x, labels) for x in (ours, theirs)))
    return dict(
        squareroot_sample_prob=sampler_over(dataset, type='ltmm.PowerSampler', power=0.5).sample_probability(),
        balanced_sample_prob=sampler_over(dataset, type='ltmm.PowerSampler', power=0).sample_probability(),
        progressive_class_prob=np.stack([progressive.class_probability(epoch) for epoch in range(epochs)]),
        classaware_len=len(sampler_over(dataset, **class_aware, length='max')),
    )


def visited_classes(stream: np.ndarray, labels: np.ndarray, num_classes: int, in_a_row: int) -> np.ndarray:
    """Classes of the draws, (cycles, C, in a row), with the visits of each cycle sorted by class."""
    visits = labels[stream].reshape(-1, num_classes, in_a_row)
    return np.take_along_axis(visits, visits[:, :, :1].argsort(axis=1), axis=1)


def draws_of_samples(stream: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How often each sample comes, sorted within each class, (N,)."""
    draws = np.bincount(stream, minlength=len(labels))
    return draws[np.lexsort((draws, labels))]


@adaptor('rfs')
def rfs(case: Case) -> dict[str, Any]:
    multi_hot = case.arrays['multi_hot']
    labels = [np.flatnonzero(row).tolist() for row in multi_hot]
    threshold = case.params['oversample_thr']
    dataset = InMemory(labels, multi_hot.shape[1])
    sampler = sampler_over(dataset, type='ltmm.RepeatFactorSampler', threshold=threshold, rounding='ceil')
    repeats = np.bincount(list(sampler), minlength=len(labels))
    return dict(repeat_factors=sampler.repeat_factors, repeats=repeats)
