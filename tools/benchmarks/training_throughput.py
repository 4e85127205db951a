"""A training iteration of ResNet-32 on CIFAR100-LT in MMEngine's Runner against one in a bare PyTorch loop."""

from collections.abc import Iterator
from functools import partial

import torch
from mmengine.config import Config
from pair import Pair
from torch import nn
from torch.utils.data import DataLoader
from torchvision import transforms
from training import ROOT, RandomImages, build, iterations


class AugmentedImages(RandomImages):
    """The images, augmented by torchvision as in the authors' code."""

    augment = transforms.Compose(
        [
            transforms.ToPILImage(),
            transforms.RandomCrop(32, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.491, 0.482, 0.443], [0.202, 0.199, 0.200]),
        ]
    )

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        record = self.get_data_info(index)
        return self.augment(record['img']), record['gt_label']


def bare_loop(model: nn.Module, batch_size: int, **optimizer) -> Iterator[None]:
    loader = DataLoader(AugmentedImages(), batch_size, shuffle=True)
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), **optimizer)
    while True:
        for images, labels in loader:
            loss = criterion(model.head(model.backbone(images)), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss.item()  # the authors' loops log every loss
            yield


def compare() -> Iterator[Pair]:
    cfg = Config.fromfile(ROOT / 'configs/cifar100_lt/ce_r32.py')
    cfg.train_dataloader.dataset = dict(type='ltmm.RandomImages', pipeline=cfg.train_pipeline)
    optimizer = {key: value for key, value in cfg.optim_wrapper.optimizer.items() if key != 'type'}
    runner = iterations(cfg)
    bare = bare_loop(build(cfg.model, 100), cfg.train_dataloader.batch_size, **optimizer)
    yield Pair('ce_r32, batch 128', partial(next, runner), partial(next, bare), max_ratio=1.05)
