"""Sub-classes of SBCL: clusters of 115,846 features of 128 dimensions by class, as many as ImageNet-LT has.

Stands against a product of all features with 1,000 class means.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from pair import Pair
from torch import Tensor

from ltmm.models.losses.contrastive.subclasses import CLUSTERINGS, class_temperatures, split_classes, subclass_counts

NUM_CLASSES, LARGEST, SMALLEST, NUM_IMAGES = 1000, 1280, 5, 115_846
FEAT_DIM, MIN_SIZE = 128, 20


def class_counts() -> Tensor:
    """Counts of ImageNet-LT's size, largest and smallest class, that fall by a power of the rank."""
    rank, low, high = torch.linspace(1, 0, NUM_CLASSES, dtype=torch.float64), 1.0, 50.0
    for _ in range(60):
        power = (low + high) / 2
        counts = (SMALLEST + (LARGEST - SMALLEST) * rank**power).round().long()
        low, high = (power, high) if counts.sum() > NUM_IMAGES else (low, power)
    return counts


def compare() -> Iterator[Pair]:
    counts = class_counts()
    label = torch.arange(NUM_CLASSES).repeat_interleave(counts)
    features = F.normalize(torch.randn(len(label), FEAT_DIM), dim=1)
    means = F.normalize(torch.randn(NUM_CLASSES, FEAT_DIM), dim=1)
    num = subclass_counts(counts, MIN_SIZE)

    def reference() -> None:
        for chunk in features.split(2**14):
            chunk @ means.T

    for method in CLUSTERINGS:
        yield Pair(method, lambda m=method: split_classes(features, label, num, m, 0), reference, max_seconds=10)
    yield Pair('temperatures', lambda: class_temperatures(features, label, num, 0.1), reference, max_seconds=1)
