"""Forward and backward of each loss as a multiple of PyTorch's own, on the same logits, float32.

The softmax losses are measured against ``F.cross_entropy``, the sigmoid losses against
``F.binary_cross_entropy_with_logits`` with ready-made targets. The logits are uniform in [-1, 1], so that they can be
cosines; (256, 8142) is a batch of iNaturalist 2018, (4096, 1204) the proposals of a batch of LVIS. The multi-label
losses are measured at (256, 1000), with one label in a hundred positive, those for partial labels, COMIC's among them,
with three in ten unknown; COMIC's balancer, which takes its inner loss of four logits, against four times BCE. A round
times reference, loss, loss, reference; medians over the rounds are reported. Processor time, of all threads together,
leaves out what other programs take; ``--wall`` has the clock's.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm import ClassDistribution
from ltmm.registry import MODELS

SHAPES = ((256, 8142), (4096, 1204))
CROSS_ENTROPY = dict(type='mmpretrain.CrossEntropyLoss')
EFFECTIVE_NUMBER = dict(kind='effective_number', beta=0.9999)
SOFTMAX_LOSSES = {
    'BalancedSoftmaxLoss': dict(type='ltmm.BalancedSoftmaxLoss'),
    'LogitAdjustmentLoss': dict(type='ltmm.LogitAdjustmentLoss', tau=1.5),
    'VSLoss': dict(type='ltmm.VSLoss', gamma=0.05, tau=0.75),
    'CDTLoss': dict(type='ltmm.CDTLoss', gamma=0.2),
    'LDAMLoss': dict(type='ltmm.LDAMLoss'),
    'SoftmaxFocalLoss': dict(type='ltmm.SoftmaxFocalLoss', gamma=1.0),
    'ClassBalancedLoss(softmax)': dict(type='ltmm.ClassBalancedLoss', loss_type='softmax', beta=0.9999),
    'ReweightedLoss(CE)': dict(type='ltmm.ReweightedLoss', loss=CROSS_ENTROPY, kind='inverse'),
    'DeferredReweighting(LDAM)': dict(
        type='ltmm.DeferredReweighting', loss=dict(type='ltmm.LDAMLoss'), start_epoch=0, **EFFECTIVE_NUMBER
    ),
}
SIGMOID_LOSSES = {
    'SigmoidFocalLoss(0), BCE': dict(type='ltmm.SigmoidFocalLoss', gamma=0.0),
    'SigmoidFocalLoss(2)': dict(type='ltmm.SigmoidFocalLoss', gamma=2.0),
    'ClassBalancedLoss(sigmoid)': dict(type='ltmm.ClassBalancedLoss', loss_type='sigmoid', beta=0.9999),
    'ClassBalancedLoss(focal)': dict(type='ltmm.ClassBalancedLoss', loss_type='focal', beta=0.9999, gamma=0.5),
}
MULTI_LABEL_SHAPES = ((256, 1000),)
DB = dict(type='ltmm.DistributionBalancedLoss')
REBALANCE = dict(DB, alpha=0.1, beta=10.0, mu=0.2)
NTR = dict(neg_scale=2.0, init_bias=0.05)
FOCAL = dict(focal_gamma=2.0, balance=2.0)
PARTIAL = dict(type='ltmm.PartialASLLoss')
MODIFIER = dict(type='ltmm.MultiFocalModifierLoss')
CORRECTOR = dict(type='ltmm.ReflectiveLabelCorrectorLoss', start_epoch=0)
BALANCER = dict(type='ltmm.HeadTailBalancerLoss')
MULTI_LABEL_LOSSES = {
    'MultiLabelBCELoss': dict(type='ltmm.MultiLabelBCELoss'),
    'MultiLabelFocalLoss': dict(type='ltmm.MultiLabelFocalLoss', gamma=2.0, balance=2.0),
    'KPositiveCELoss': dict(type='ltmm.KPositiveCELoss'),
    'R-BCE': REBALANCE,
    'DB-0FL': dict(REBALANCE, **NTR),
    'DB': dict(REBALANCE, **NTR, **FOCAL),
    'CB-Focal(average_w)': dict(DB, reweight='CB', cb_beta=0.9, cb_mode='average_w', **FOCAL),
    'ASLLoss': dict(type='ltmm.ASLLoss'),
    'HillLoss': dict(type='ltmm.HillLoss'),
    'SPLCLoss': dict(type='ltmm.SPLCLoss', start_epoch=0),
    'PartialASLLoss(ignore)': dict(PARTIAL, mode='ignore'),
    'PartialASLLoss(selective)': dict(PARTIAL, mode='selective', topk=2),
    'MultiFocalModifier(prior)': dict(MODIFIER, form='prior'),
    'MultiFocalModifier(grained)': dict(MODIFIER, form='multi_grained'),
    'ReflectiveLabelCorrector': CORRECTOR,
    'HeadTailBalancer, of 4 BCE': dict(BALANCER, loss=dict(MODIFIER, form='multi_grained')),
}
FOR_PARTIAL = [cfg['type'] for cfg in (PARTIAL, MODIFIER, CORRECTOR, BALANCER)]


def build(cfg: dict, distribution: ClassDistribution) -> nn.Module:
    """The loss, ready for training."""
    loss = MODELS.build(cfg)
    for module in loss.modules():
        if hasattr(module, 'set_class_distribution'):
            module.set_class_distribution(distribution)
        if hasattr(module, 'set_progress'):
            module.set_progress(0, 1)
    return loss


def milliseconds(loss: Callable[[Tensor], Tensor], score: Tensor, clock: Callable[[], float]) -> float:
    """Time of one forward and backward."""
    score.grad = None
    start = clock()
    loss(score).backward()
    return 1e3 * (clock() - start)


@dataclass
class Batch:
    """Logits (N, C), labels, targets (N, C) of the sigmoids, and class counts as of a long-tailed training set.

    Labels are class indices (N,), or targets (N, C) some of which are unknown.
    """

    score: Tensor
    label: Tensor
    target: Tensor
    distribution: ClassDistribution

    @classmethod
    def random(cls, num_samples: int, num_classes: int) -> 'Batch':
        """A batch of this shape."""
        label = torch.randint(num_classes, (num_samples,))
        return cls(
            (2 * torch.rand(num_samples, num_classes) - 1).requires_grad_(),
            label,
            F.one_hot(label, num_classes).float(),
            ClassDistribution(np.geomspace(1000, 2, num_classes).round()),
        )

    @classmethod
    def random_multi_label(cls, num_samples: int, num_classes: int, share_unknown: float) -> 'Batch':
        """A multi-label batch of this shape."""
        target = (torch.rand(num_samples, num_classes) < 0.01).float()
        label = target.masked_fill(torch.rand_like(target) < share_unknown, -1)
        batch = cls.random(num_samples, num_classes)
        counts = batch.distribution.image_counts
        together = np.outer(counts, counts) // (10 * counts.max())  # as if classes came independently
        np.fill_diagonal(together, counts)
        distribution = ClassDistribution(counts, num_images=10 * int(counts.max()), co_occurrence=together)
        return cls(batch.score, label, target, distribution)

    def cross_entropy(self, score: Tensor) -> Tensor:
        """The reference of the softmax losses."""
        return F.cross_entropy(score, self.label)

    def binary_cross_entropy(self, score: Tensor) -> Tensor:
        """The reference of the sigmoid losses."""
        return F.binary_cross_entropy_with_logits(score, self.target, reduction='sum') / len(score)


def compare(cfg: dict, is_sigmoid: bool, batch: Batch, runs: int, clock: Callable[[], float]) -> str:
    """Median times of a loss and of its reference, and the median of their ratios."""
    loss = build(cfg, batch.distribution)
    reference = batch.binary_cross_entropy if is_sigmoid else batch.cross_entropy

    def ours(score: Tensor) -> Tensor:
        return loss(score, batch.label, avg_factor=len(score))

    if cfg['type'] == BALANCER['type']:

        def ours(score: Tensor) -> Tensor:
            return loss(score, score, score, batch.label)

        def reference(score: Tensor) -> Tensor:
            return sum(batch.binary_cross_entropy(score) for _ in range(4))

    order = (reference, ours, ours, reference)
    rounds = [[milliseconds(f, batch.score, clock) for f in order] for _ in range(runs + 1)][1:]  # the first warms up
    time_of_reference = statistics.median((first + last) / 2 for first, _, _, last in rounds)
    time_of_ours = statistics.median((first + second) / 2 for _, first, second, _ in rounds)
    ratio = statistics.median((b + c) / (a + d) for a, b, c, d in rounds)
    return f'{time_of_ours:>8.1f} {time_of_reference:>9.1f} {ratio:>6.2f}'


def print_table(shapes: tuple, losses: dict[str, dict], batches_of: Callable[[dict], list[Batch]], *args: Any) -> None:
    """A row a loss; ``args`` are those of :func:`compare`."""
    print(f'{"":<28}' + ''.join(f'{shape!s:>25}' for shape in shapes))
    for name, cfg in losses.items():
        columns = (compare(cfg, losses is not SOFTMAX_LOSSES, batch, *args) for batch in batches_of(cfg))
        print(f'{name:<28}' + ''.join(columns), flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--runs', type=int, default=25, help='rounds, of which the median is reported')
    parser.add_argument('--threads', type=int, default=1, help='threads of PyTorch')
    parser.add_argument('--wall', action='store_true', help="measure the clock's time")
    args = parser.parse_args()
    clock = time.perf_counter if args.wall else time.process_time
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    batches = [Batch.random(*shape) for shape in SHAPES]
    complete, partial = (
        [Batch.random_multi_label(*shape, share) for shape in MULTI_LABEL_SHAPES] for share in (0, 0.3)
    )
    print(f'{args.threads} threads, median of {args.runs}; ms, ms of the reference, ratio')
    for losses in (SOFTMAX_LOSSES, SIGMOID_LOSSES):
        print_table(SHAPES, losses, lambda cfg: batches, args.runs, clock)
    multi_label = (MULTI_LABEL_SHAPES, MULTI_LABEL_LOSSES)
    print_table(*multi_label, lambda cfg: partial if cfg['type'] in FOR_PARTIAL else complete, args.runs, clock)


if __name__ == '__main__':
    main()
