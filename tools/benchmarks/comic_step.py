"""A training step of COMIC, against three plain branches with binary cross entropy.

Forward, backward and optimizer step on one batch of random images and labels, three backbones in both. The plain
branches are three networks with a linear classifier, whose losses are added up. Both take turns; medians of the turns
and of the ratios of a turn are printed. On a CPU it is processor time, which leaves out what other programs take.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ltmm import ClassDistribution
from ltmm.registry import MODELS

BACKBONES = dict(
    r32=(dict(type='ltmm.ResNetCIFAR', depth=32), 64),
    r50=(dict(type='mmpretrain.ResNet', depth=50), 2048),
)


def step_of(parts: list[nn.Module]) -> Callable[[Tensor, list[DataSample]], None]:
    """A function that does one step of models whose losses are added up."""
    optimizer = torch.optim.Adam([parameter for part in parts for parameter in part.parameters()], lr=1e-4)

    def step(images: Tensor, samples: list[DataSample]) -> None:
        loss = sum(value for part in parts for value in part.loss(images, samples).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--backbone', choices=BACKBONES, default='r32')
    parser.add_argument('--batch-size', type=int, default=64)
    parser.add_argument('--size', type=int, default=64, help='side of the images')
    parser.add_argument('--num-classes', type=int, default=80)
    parser.add_argument('--turns', type=int, default=10)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()

    target = (torch.rand(args.batch_size, args.num_classes) < 3 / args.num_classes).float()
    target[0] = 1  # no class is empty
    together = (target.T @ target).long()
    distribution = ClassDistribution(together.diagonal(), num_images=args.batch_size, co_occurrence=together.numpy())
    backbone, width = BACKBONES[args.backbone]
    neck = dict(type='ltmm.FeatureProjection', in_channels=width, out_channels=1024, log_softmax=True)
    comic_head = dict(type='ltmm.COMICHead', num_classes=args.num_classes, in_channels=1024)
    plain_head = dict(
        type='ltmm.MultiLabelClsHead',
        num_classes=args.num_classes,
        in_channels=1024,
        loss=dict(type='ltmm.MultiLabelBCELoss'),
    )
    plain = dict(type='mmpretrain.ImageClassifier', backbone=backbone, neck=neck, head=plain_head)
    models = dict(
        comic=[MODELS.build(dict(type='ltmm.COMIC', backbone=backbone, neck=neck, head=comic_head))],
        plain=[MODELS.build(plain) for _ in range(3)],
    )
    steps = {}
    for name, parts in models.items():
        for module in nn.ModuleList(parts).to(args.device).train().modules():
            if hasattr(module, 'set_class_distribution'):
                module.set_class_distribution(distribution)
            if hasattr(module, 'set_progress'):
                module.set_progress(1, 40)  # the corrector is at work
        steps[name] = step_of(parts)

    images = torch.randn(args.batch_size, 3, args.size, args.size, device=args.device)
    samples = [DataSample().set_gt_score(row) for row in target.to(args.device)]
    clock = time.process_time if args.device == 'cpu' else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(args.turns + 2):
        for name, step in steps.items():
            start = clock()
            step(images, samples)
            if args.device != 'cpu':
                torch.cuda.synchronize()
            if turn > 1:  # the first two warm up
                seconds[name].append(clock() - start)
    print(', '.join(f'{name} {1000 * statistics.median(values):.0f} ms' for name, values in seconds.items()))
    ratio = statistics.median(a / b for a, b in zip(seconds['comic'], seconds['plain']))
    print(f'COMIC / three plain branches = {ratio:.3f}')


if __name__ == '__main__':
    main()
