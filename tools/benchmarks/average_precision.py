"""Average precision of 1,000 classes on 20,000 multi-label images against mmpretrain's ``AveragePrecision``."""

from collections.abc import Iterator

import numpy as np
import torch
from mmpretrain.evaluation import AveragePrecision
from pair import Pair

from ltmm.evaluation.functional import average_precision

NUM_IMAGES, NUM_CLASSES = 20_000, 1_000


def compare() -> Iterator[Pair]:
    rng = np.random.default_rng(0)
    scores = rng.random((NUM_IMAGES, NUM_CLASSES), dtype=np.float32)
    target = (rng.random(scores.shape) < np.geomspace(0.3, 0.001, NUM_CLASSES)).astype(np.int8)
    target[0] = 1  # no class without a positive
    pred, truth = torch.from_numpy(scores), torch.from_numpy(target)
    yield Pair(
        'all classes',
        lambda: average_precision(scores, target),
        lambda: AveragePrecision.calculate(pred, truth, average=None),
        max_ratio=0.2,
    )
