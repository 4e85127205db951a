"""A training step of contrastive methods against the same passes of the plain network."""

from collections.abc import Iterator
from functools import partial

from pair import Pair
from training import training_step

STEP = partial(training_step, batch_size=128, size=32)


def compare() -> Iterator[Pair]:
    plain = STEP('configs/cifar100_lt/ce_r32.py', views_without_grad=1)
    yield Pair('MoCo v2', STEP('configs/cifar100_lt/moco_r32_pretrain.py', num_views=2), plain, max_ratio=1.15)
    yield Pair('PaCo', STEP('configs/cifar100_lt/paco_r32.py', num_views=2), plain, max_ratio=1.15)
    plain = STEP('configs/cifar100_lt/ce_r32.py', num_views=2)
    yield Pair('GPaCo', STEP('configs/cifar100_lt/gpaco_r32.py', num_views=2), plain, max_ratio=1.15)
    yield Pair('SupCon', STEP('configs/cifar100_lt/supcon_r32_stage1.py', num_views=2), plain, max_ratio=1.15)
    plain = STEP('configs/cifar100_lt/ce_r32.py', num_views=3)
    yield Pair('BCL, three views', STEP('configs/cifar100_lt/bcl_r32.py', num_views=3), plain, max_ratio=1.15)
