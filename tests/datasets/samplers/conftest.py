"""Fixtures for the tests of all samplers."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from mmengine.dataset import BaseDataset

from ltmm.registry import DATA_SAMPLERS

CONFIGS = [
    dict(type='ltmm.ClassAwareSampler', num_samples_per_class=3),
    dict(type='ltmm.EffectiveNumberSampler', beta=0.95),
    dict(type='ltmm.PowerSampler', power=0.5),
    dict(type='ltmm.ProgressivelyBalancedSampler', total_epochs=500),
    dict(type='ltmm.RepeatFactorSampler', threshold=0.3),
    dict(type='ltmm.RepeatFactorSampler', threshold=0.3, rounding='ceil'),
]


class Labels(BaseDataset):
    """A dataset of labels only; each is a class or a list of classes."""

    def __init__(self, labels: Sequence, num_classes: int) -> None:
        self.labels = labels
        super().__init__(metainfo=dict(classes=[f'c{i}' for i in range(num_classes)]), serialize_data=False)

    def load_data_list(self) -> list[dict]:
        return [dict(gt_label=label) for label in self.labels]


@pytest.fixture(params=CONFIGS, ids=lambda c: c['type'].split('.')[1] + c.get('rounding', ''))
def config(request) -> dict:
    """The config of each sampler in turn."""
    return request.param


@pytest.fixture
def build() -> Callable:
    """Build a sampler on a dataset with ``counts[c]`` samples of class c, or with the given ``labels``."""

    def _build(counts=None, labels=None, num_classes=None, seed=0, **config):
        if labels is None:
            labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts)).tolist()
            num_classes = len(counts)
        return DATA_SAMPLERS.build(dict(config, dataset=Labels(labels, num_classes), seed=seed))

    return _build


@pytest.fixture
def logged(monkeypatch) -> list[str]:
    """Warnings logged by samplers."""
    messages = []
    monkeypatch.setattr('ltmm.datasets.samplers.base.print_log', lambda message, **kwargs: messages.append(message))
    return messages
