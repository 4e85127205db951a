"""A training step of the 3-expert ResNet-32, against a plain loop over the experts and against three single networks.

Forward, backward and optimizer step on one batch of random images. The experts are RIDE's: stages two and three for
each of them, narrowed to 24 and 48 channels. The plain loop runs the same layers as the authors' code does, in the
memory order that PyTorch starts with; the single networks are full-width ResNet-32s, run one after another in the same
way. All take turns; medians of the ratios of a turn are printed.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ltmm.models.backbones import MultiExpertResNetCIFAR
from ltmm.models.losses.expert.base import expert_cross_entropy
from ltmm.registry import MODELS


class PlainLoop(nn.Module):
    """The experts of a network one after another, as in the authors' code."""

    def __init__(self, net: MultiExpertResNetCIFAR) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Features (E, N, D)."""
        net = self.net
        x = net.layer1(net.relu(net.bn1(net.conv1(x))))
        experts = zip(net.layer2.experts, net.layer3.experts)
        return (torch.stack([layer3(layer2(x)).mean((2, 3)) for layer2, layer3 in experts]),)


def training_step(
    backbone: nn.Module, num_experts: int, width: int, num_classes: int
) -> Callable[[Tensor, Tensor], None]:
    """A function that does one step on images and labels."""
    head = MODELS.build(
        dict(
            type='ltmm.MultiExpertClsHead',
            num_classes=num_classes,
            in_channels=width,
            num_experts=num_experts,
            classifier=dict(type='ltmm.NormedLinear', scale=30.0),
            loss=dict(type='ltmm.BalPoELoss', taus=[1.0] * num_experts),
        )
    ).to(next(backbone.parameters()).device)
    optimizer = torch.optim.SGD([*backbone.parameters(), *head.parameters()], 0.01, momentum=0.9, nesterov=True)

    def step(images: Tensor, label: Tensor) -> None:
        loss = expert_cross_entropy(head.expert_logits(backbone(images)), label).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batch-size', type=int, default=128)
    parser.add_argument('--turns', type=int, default=15)
    parser.add_argument('--depth', type=int, default=32)
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    args = parser.parse_args()

    num_classes, narrow = 100, dict(depth=args.depth, channels=(16, 24, 48), num_experts=3)
    singles = [PlainLoop(MultiExpertResNetCIFAR(args.depth, num_experts=1)) for _ in range(3)]
    steps = dict(
        ours=[training_step(MultiExpertResNetCIFAR(**narrow).to(args.device), 3, 48, num_classes)],
        loop=[training_step(PlainLoop(MultiExpertResNetCIFAR(**narrow)).to(args.device), 3, 48, num_classes)],
        singles=[training_step(single.to(args.device), 1, 64, num_classes) for single in singles],
    )
    images = torch.randn(args.batch_size, 3, 32, 32, device=args.device)
    label = torch.randint(num_classes, (args.batch_size,), device=args.device)
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(args.turns + 2):
        for name, parts in steps.items():
            start = time.perf_counter()
            for step in parts:
                step(images, label)
            if args.device != 'cpu':
                torch.cuda.synchronize()
            if turn > 1:  # the first two warm up
                seconds[name].append(time.perf_counter() - start)
    print(', '.join(f'{name} {1000 * statistics.median(values):.0f} ms' for name, values in seconds.items()))
    for one, other, text in (
        ('ours', 'singles', 'ours / three single networks'),
        ('loop', 'singles', 'plain loop / three single networks'),
        ('ours', 'loop', 'ours / plain loop'),
    ):
        ratio = statistics.median(a / b for a, b in zip(seconds[one], seconds[other]))
        print(f'{text} = {ratio:.3f}')


if __name__ == '__main__':
    main()
