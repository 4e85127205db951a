"""Training throughput of a classification config through the Runner, against a bare PyTorch loop.

Same network, loss, optimizer, batch and augmentation (random crop with padding, flip, normalisation), the same
images, the same number of data workers; the two take turns, a few iterations each, and medians are compared.
The bare loop uses torchvision's transforms, as the authors' code does.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Iterator

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

import ltmm  # noqa: F401


class BareImages(Dataset):
    """Images and labels of a dataset of the framework, augmented by torchvision."""

    def __init__(self, dataset, mean: list[float], std: list[float]) -> None:
        records = [dataset.get_data_info(i) for i in range(len(dataset))]
        self.images, self.labels = [r['img'] for r in records], [int(r['gt_label']) for r in records]
        self.transform = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(self.images[0].shape[0], padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize([m / 255 for m in mean], [s / 255 for s in std]),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), self.labels[index]


def bare_iterations(model: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """One training iteration a step, for ever."""
    criterion = nn.CrossEntropyLoss()
    while True:
        for images, labels in loader:
            loss = criterion(model.head(model.backbone(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()  # the authors' loops log every loss
            yield


def runner_iterations(runner: Runner) -> Iterator[None]:
    """One iteration of the Runner's training loop, all hooks included, a step."""
    loop = runner.train_loop
    runner.call_hook('before_train')
    while True:
        runner.call_hook('before_train_epoch')
        runner.model.train()
        for index, batch in enumerate(loop.dataloader):
            loop.run_iter(index, batch)
            yield
        loop._epoch += 1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='?', default='configs/cifar100_lt/ce_r32.py')
    parser.add_argument('--iterations', type=int, default=10, help='iterations of a turn')
    parser.add_argument('--turns', type=int, default=7, help='turns of each of the two')
    args = parser.parse_args()

    cfg = Config.fromfile(args.config)
    cfg.work_dir = cfg.get('work_dir') or 'work_dirs/benchmark'
    cfg.default_hooks.checkpoint = None
    cfg.log_level = 'WARNING'
    init_default_scope(cfg.default_scope)
    runner = Runner.from_cfg(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner.call_hook('before_run')
    runner.optim_wrapper.initialize_count_status(runner.model, 0, 10**9)

    loader = runner.train_dataloader
    bare_model = Runner.build_model(runner, cfg.model).train()
    optimizer = torch.optim.SGD(
        bare_model.parameters(), **{k: v for k, v in cfg.optim_wrapper.optimizer.items() if k != 'type'}
    )
    processor = cfg.get('data_preprocessor') or cfg.model.data_preprocessor
    bare_loader = DataLoader(
        BareImages(loader.dataset, processor.mean, processor.std),
        loader.batch_size,
        shuffle=True,
        num_workers=loader.num_workers,
    )
    contestants = dict(runner=runner_iterations(runner), bare=bare_iterations(bare_model, bare_loader, optimizer))
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn, (name, steps) in itertools.product(range(args.turns + 1), contestants.items()):
        start = time.perf_counter()
        for _ in range(args.iterations):
            next(steps)
        if turn:  # the first turn warms up
            seconds[name].append((time.perf_counter() - start) / args.iterations)
    speed = {name: loader.batch_size / statistics.median(values) for name, values in seconds.items()}
    ratio = statistics.median(b / r for r, b in zip(seconds['runner'], seconds['bare']))
    print(f'images/s: Runner {speed["runner"]:.0f}, bare loop {speed["bare"]:.0f}; Runner / bare loop = {ratio:.3f}')


if __name__ == '__main__':
    main()
