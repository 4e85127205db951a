"""A training step of COMIC with three ResNet-32s against three plain ResNet-32s with binary cross entropy."""

from collections.abc import Iterator

from pair import Pair
from training import training_step


def compare() -> Iterator[Pair]:
    comic = training_step('configs/cifar100_mosaics/comic_r32.py', batch_size=64, size=64, multi_label=True)
    plain = training_step('configs/cifar100_mosaics/bce_r32.py', batch_size=64, size=64, copies=3, multi_label=True)
    yield Pair('COMIC, batch 64, 64 px', comic, plain, max_ratio=1.1)
