"""Time and memory of ROG's ranking loss: ours, against a loop over the objects, on the same float32 logits.

The loop does what the formula says, for one object after another: it compares all logits that are no object's with that
of the object, and adds to their gradient. A quarter of the proposals are objects, of classes with a long tail. Logits
are those of a new classifier, all about alike, or of a trained one, the objects' above most of the rest. Forward and
backward; binary cross entropy on the same logits is for comparison. Memory is the peak of a process of its own above
what it held before the step; it is read where Linux keeps it.
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.models.losses.detection.gap_loss import gap_class_weight, gap_loss

GAMMA, DELTA = 1.0, 0.5


def batch(num_rows: int, num_classes: int, trained: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (N, C), labels (N,), and weights of the classes (C,)."""
    generator = torch.Generator().manual_seed(0)
    share = 1.0 / torch.arange(1, num_classes + 1)  # of the objects
    label = torch.full((num_rows,), num_classes)
    label[: num_rows // 4] = torch.multinomial(share, num_rows // 4, replacement=True, generator=generator)
    if trained:
        score = torch.randn(num_rows, num_classes, generator=generator) - 6
        objects = torch.arange(num_rows // 4)
        score[objects, label[objects]] += 7
    else:
        score = 0.1 * torch.randn(num_rows, num_classes, generator=generator)
    return score, label, gap_class_weight((1e5 * share).round().double(), GAMMA)


def loop(score: Tensor, label: Tensor, class_weight: Tensor) -> tuple[Tensor, Tensor]:
    """The loss and its gradient, object by object."""
    grad, loss = torch.zeros_like(score), score.new_zeros(())
    is_negative = label[:, None] != torch.arange(score.size(1))  # (N, C)
    classes = label[label < score.size(1)].unique()
    for c in classes.tolist():
        rows = (label == c).nonzero().squeeze(1)
        candidate = is_negative & (score >= score[rows, c].min() - DELTA)  # (N, C)
        negatives = score[candidate]  # (M,)
        pushed = torch.zeros_like(negatives)
        for i in rows.tolist():
            above = ((negatives - score[i, c]) / (2 * DELTA) + 0.5).clamp(0, 1)
            peers = ((score[rows, c] - score[i, c]) / (2 * DELTA) + 0.5).clamp(0, 1).sum()
            rank = above.sum() + peers
            share = 1 / (len(rows) * len(classes))
            loss += share * above.sum() / rank
            grad[i, c] -= class_weight[c].float() * share * above.sum() / rank
            pushed += class_weight[c].float() * share / rank * above
        grad[candidate] += pushed
    return loss, grad


def ours(score: Tensor, label: Tensor, class_weight: Tensor) -> tuple[Tensor, Tensor]:
    """The same, by :func:`gap_loss`."""
    score = score.detach().requires_grad_()
    loss = gap_loss(score, label, class_weight, DELTA)
    loss.backward()
    return loss.detach(), score.grad


def cross_entropy(score: Tensor, label: Tensor, class_weight: Tensor) -> tuple[Tensor, Tensor]:
    """Binary cross entropy and its gradient."""
    score = score.detach().requires_grad_()
    target = F.one_hot(label, score.size(1) + 1)[:, :-1].to(score)
    loss = F.binary_cross_entropy_with_logits(score, target, reduction='sum') / len(score)
    loss.backward()
    return loss.detach(), score.grad


WAYS: dict[str, Callable] = {'ours': ours, 'loop': loop, 'BCE': cross_entropy}


def kilobytes(name: str) -> int:
    """A figure of this process, as Linux keeps it."""
    (line,) = (line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(name))
    return int(line.split()[1])


def peak_megabytes(args: argparse.Namespace, way: str, trained: bool) -> float:
    """Memory of one step, in a process of its own."""
    command = [sys.executable, __file__, '--shape', *map(str, args.shape), '--threads', str(args.threads)]
    command += ['--memory-of', way, *(['--trained'] if trained else [])]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--shape', type=int, nargs=2, default=(4096, 1203), help='proposals and classes')
    parser.add_argument('--runs', type=int, default=5, help='of which the median is printed; the loop runs once')
    parser.add_argument('--threads', type=int, default=1, help='threads of PyTorch')
    parser.add_argument('--memory-of', choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument('--trained', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_of:
        ours(*batch(8, 3, False))  # what PyTorch loads at its first backward does not count
        inputs = batch(*args.shape, args.trained)
        Path('/proc/self/clear_refs').write_text('5')  # the peak starts anew
        before = kilobytes('VmRSS')
        WAYS[args.memory_of](*inputs)
        print((kilobytes('VmHWM') - before) / 1024)
        return
    print(f'{args.shape[0]} proposals, {args.shape[1]} classes, {args.threads} threads; processor time, peak memory')
    for trained in (False, True):
        inputs = batch(*args.shape, trained)
        print('logits of a trained classifier' if trained else 'logits of a new classifier', flush=True)
        seconds, results = {}, {}
        for way, function in WAYS.items():
            times = []
            for _ in range(1 if way == 'loop' else args.runs):
                start = time.process_time()
                results[way] = function(*inputs)
                times.append(time.process_time() - start)
            seconds[way] = statistics.median(times)
            memory = peak_megabytes(args, way, trained)
            print(f'  {way:<5}{seconds[way]:>10.3f} s {memory:>8.0f} MB', flush=True)
        (value, grad), (naive_value, naive_grad) = results['ours'], results['loop']
        error = ((grad - naive_grad).abs().max() / naive_grad.abs().max()).item()
        print(
            f'  the loop takes {seconds["loop"] / seconds["ours"]:.0f} times as long; loss {value:.6f} and '
            f'{naive_value:.6f}, largest difference of the gradients {error:.1e} of the largest gradient'
        )


if __name__ == '__main__':
    main()
