"""A training step of three narrow ResNet-32 experts against three single ResNet-32s."""

from collections.abc import Iterator

from pair import Pair
from training import training_step


def compare() -> Iterator[Pair]:
    experts = training_step('configs/cifar100_lt/ride_r32.py', batch_size=128, size=32)
    singles = training_step('configs/cifar100_lt/ldam_r32.py', batch_size=128, size=32, copies=3)
    yield Pair('RIDE, 3 experts, batch 128', experts, singles, max_ratio=0.57)
