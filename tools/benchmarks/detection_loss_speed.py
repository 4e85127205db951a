"""Forward and backward of each loss for detection as a multiple of PyTorch's own, on the same logits, float32.

The sigmoid losses are measured against ``F.binary_cross_entropy_with_logits`` with ready-made targets, Seesaw against
``F.cross_entropy``, on 4,096 proposals and LVIS's 1,203 classes and background, of which a quarter are objects, as
RoI heads sample them; ``--objects`` has another share. Training mode: state is gathered in the time measured. A round
times reference, loss, loss, reference; medians over the rounds are reported. Processor time, of all threads together,
leaves out what other programs take; ``--device cuda`` has the time of the GPU, and its clock.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm import ClassDistribution
from ltmm.registry import MODELS

NUM_PROPOSALS, NUM_CLASSES = 4096, 1203
LOSSES = {
    'EQLLoss': dict(type='ltmm.EQLLoss', lambda_=1e-3),
    'EQLv2Loss': dict(type='ltmm.EQLv2Loss'),
    'SigmoidCrossEntropyLoss': dict(type='ltmm.SigmoidCrossEntropyLoss'),
    'SeesawLoss': dict(type='ltmm.SeesawLoss'),
}


def stopwatch(device: str) -> Callable[[], float]:
    """Seconds that only what is measured has taken."""
    if device == 'cpu':
        return time.process_time

    def clock() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return clock


def compare(cfg: dict, objects: float, runs: int, device: str) -> str:
    """Median times of a loss and of its reference, and the median of their ratios."""
    loss = MODELS.build(cfg)
    width = loss.get_cls_channels(NUM_CLASSES)
    if hasattr(loss, 'set_class_distribution'):
        loss.set_class_distribution(ClassDistribution(np.geomspace(50000, 2, NUM_CLASSES).round()))
    loss = loss.to(device).train()
    label = torch.randint(NUM_CLASSES, (NUM_PROPOSALS,))
    label[torch.rand(NUM_PROPOSALS) >= objects] = NUM_CLASSES
    label, weight = label.to(device), torch.ones(NUM_PROPOSALS, device=device)
    score = (2 * torch.rand(NUM_PROPOSALS, width, device=device) - 1).requires_grad_()
    target = F.one_hot(label, max(width, NUM_CLASSES + 1))[:, :width].float()
    clock = stopwatch(device)

    def reference(score: Tensor) -> Tensor:
        if loss.use_sigmoid:
            return F.binary_cross_entropy_with_logits(score, target, reduction='sum') / NUM_PROPOSALS
        return F.cross_entropy(score, label)

    def ours(score: Tensor) -> Tensor:
        value = loss(score, label, weight, avg_factor=NUM_PROPOSALS)
        return sum(value.values()) if isinstance(value, dict) else value

    def milliseconds(function: Callable[[Tensor], Tensor]) -> float:
        score.grad = None
        start = clock()
        function(score).backward()
        return 1e3 * (clock() - start)

    order = (reference, ours, ours, reference)
    rounds = [[milliseconds(function) for function in order] for _ in range(runs + 1)][1:]  # the first warms up
    time_of_reference = statistics.median((first + last) / 2 for first, _, _, last in rounds)
    time_of_ours = statistics.median((first + second) / 2 for _, first, second, _ in rounds)
    ratio = statistics.median((b + c) / (a + d) for a, b, c, d in rounds)
    return f'{time_of_ours:>8.2f} {time_of_reference:>9.2f} {ratio:>6.2f}'


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--objects', type=float, default=0.25, help='share of the proposals that are objects')
    parser.add_argument('--runs', type=int, default=25, help='rounds, of which the median is reported')
    parser.add_argument('--threads', type=int, default=1, help='threads of PyTorch')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu', help='where to measure')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f'{args.device}, {args.threads} threads, median of {args.runs}; ms, ms of the reference, ratio')
    for name, cfg in LOSSES.items():
        print(f'{name:<28}{compare(cfg, args.objects, args.runs, args.device)}', flush=True)


if __name__ == '__main__':
    main()
