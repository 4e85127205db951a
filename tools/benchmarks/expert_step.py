"""A training step of three ResNet-32 experts: narrow, grouped, whole networks."""

from collections.abc import Iterator

from pair import Pair
from training import training_step


def compare() -> Iterator[Pair]:
    experts = training_step('configs/cifar100_lt/ride_r32.py', batch_size=128, size=32)
    singles = training_step('configs/cifar100_lt/ldam_r32.py', batch_size=128, size=32, copies=3)
    yield Pair('RIDE, 3 experts, batch 128', experts, singles, max_ratio=0.57)
    networks = training_step('configs/cifar100_lt/ncl_r32.py', batch_size=128, size=32)
    singles = training_step('configs/cifar100_lt/balanced_softmax_r32.py', batch_size=128, size=32, copies=3)
    yield Pair('NCL, 3 networks, batch 128', networks, singles, max_ratio=1.05)
    grouped = training_step('configs/cifar100_lt/lgla_r32.py', batch_size=128, size=32)
    separate = training_step('configs/cifar100_lt/balpoe_r32.py', batch_size=128, size=32)
    yield Pair('LGLA, 3 experts as one grouped network', grouped, separate, max_ratio=1.05)
