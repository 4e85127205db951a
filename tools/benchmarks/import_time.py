"""Import of losses, samplers and metrics on top of torch, and of ltmm on top of mmpretrain, in fresh interpreters."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial

from pair import Pair


def seconds(statement: str, before: str = 'pass') -> float:
    """Return the CPU time of a statement in a fresh interpreter, after another statement."""
    code = f'import time; {before}; start = time.process_time(); {statement}; print(time.process_time() - start)'
    return float(subprocess.check_output([sys.executable, '-W', 'ignore', '-c', code], text=True).split()[-1])


def pair(name: str, statement: str, before: str, max_seconds: float) -> Pair:
    return Pair(name, partial(seconds, statement, before), partial(seconds, before), max_seconds=max_seconds)


def compare() -> Iterator[Pair]:
    loss = 'from ltmm.models.losses import BalancedSoftmaxLoss'
    alone = 'import sys, torch; sys.modules |= dict.fromkeys(("mmcv", "mmpretrain", "mmdet", "torchvision"))'
    yield pair('a loss, on top of torch', loss, 'import torch', 0.5)
    yield pair('a loss, without OpenMMLab', loss, alone, 0.5)
    yield pair('a sampler, without OpenMMLab', 'from ltmm.datasets.samplers import PowerSampler', alone, 0.5)
    yield pair('a metric, without OpenMMLab', 'from ltmm.evaluation import LongTailScores', alone, 0.5)
    yield pair('ltmm, on top of mmpretrain', 'import ltmm', 'import mmpretrain', 0.3)
