"""Training steps on random data, for the benchmarks."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from torch import nn

from ltmm import ClassDistribution
from ltmm.datasets import long_tailed_counts
from ltmm.models.state import UsesClassDistribution, UsesProgress
from ltmm.registry import DATASETS, MODELS

ROOT = Path(__file__).parents[2]
LABELS = np.repeat(np.arange(100), long_tailed_counts(500.0, 100, 100))  # of CIFAR100-LT
CLASSES = [f'class {c}' for c in range(100)]


@DATASETS.register_module()
class RandomImages(BaseDataset):
    """32x32 color images with the labels of CIFAR100-LT."""

    METAINFO = dict(classes=CLASSES)

    def load_data_list(self) -> list[dict]:
        image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        return [dict(img=image, gt_label=int(label)) for label in LABELS]


def build(cfg: dict, num_classes: int, multi_label: bool = False) -> nn.Module:
    """Build a model or loss and give it its progress and a class distribution of 1,000 to 2 images per class."""
    counts = np.geomspace(1000, 2, num_classes).round().astype(int)
    distribution = ClassDistribution(counts)
    if multi_label:
        num_images = 10 * counts[0]
        together = np.outer(counts, counts) // num_images  # as if the classes were independent
        np.fill_diagonal(together, counts)
        distribution = ClassDistribution(counts, num_images=num_images, co_occurrence=together)
    model = MODELS.build(cfg).train()
    for module in model.modules():
        if isinstance(module, UsesClassDistribution):
            module.set_class_distribution(distribution)
        if isinstance(module, UsesProgress):
            module.set_progress(epoch=1, max_epochs=40, iter=100, max_iters=4000)
    return model


def training_step(
    config: str,
    batch_size: int,
    size: int,
    copies: int = 1,
    multi_label: bool = False,
    num_views: int = 1,
    views_without_grad: int = 0,
) -> Callable[[], None]:
    """Return a function that trains the model of a config for one step on a batch of random images.

    Args:
        config: Path of the config in the repository.
        batch_size: Number of images.
        size: Height and width of the images.
        copies: Number of independent models to train side by side.
        multi_label: Draw three classes per image on average, not one.
        num_views: Views of each image that the model trains on.
        views_without_grad: Further views that only pass through the network, as keys of momentum contrast do.
    """
    cfg = Config.fromfile(ROOT / config)
    init_default_scope(cfg.default_scope)
    num_classes = cfg.data_preprocessor.num_classes
    models = [build(cfg.model, num_classes, multi_label) for _ in range(copies)]
    optimizer = torch.optim.SGD(nn.ModuleList(models).parameters(), 0.01, momentum=0.9, nesterov=True)
    images = torch.randn(num_views * batch_size, 3, size, size)
    others = torch.randn(views_without_grad * batch_size, 3, size, size)
    if multi_label:
        target = (torch.rand(batch_size, num_classes) < 3 / num_classes).float()
        samples = [DataSample().set_gt_score(row) for row in target]
    else:
        samples = [DataSample().set_gt_label(label) for label in torch.randint(num_classes, (batch_size,))]

    def step() -> None:
        with torch.no_grad():
            for model in models if views_without_grad else ():
                model.extract_feat(others)
        loss = sum(value for model in models for name, value in model.loss(images, samples).items() if 'loss' in name)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def iterations(cfg: Config, frozen: str | None = None) -> Iterator[None]:
    """Train a config by the Runner, with all hooks but validation and checkpoints, one iteration per ``next()``.

    Data are loaded in this process, so that their CPU time counts.

    Args:
        cfg: Config; it is changed.
        frozen: Part of the model that gets no gradient.
    """
    init_default_scope(cfg.default_scope)
    cfg.experiment_name = f'benchmark_{time.time_ns()}'
    cfg.log_level = 'WARNING'
    cfg.default_hooks.checkpoint = None
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.train_dataloader.num_workers = 0
    with tempfile.TemporaryDirectory() as cfg.work_dir:
        runner = Runner.from_cfg(cfg)
        if frozen:
            runner.model.get_submodule(frozen).requires_grad_(False)
        runner._train_loop = loop = runner.build_train_loop(runner._train_loop)
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
        runner.call_hook('before_run')
        runner.optim_wrapper.initialize_count_status(runner.model, 0, 10**9)
        runner.call_hook('before_train')
        while True:
            runner.call_hook('before_train_epoch')
            runner.model.train()
            for index, batch in enumerate(loop.dataloader):
                loop.run_iter(index, batch)
                yield
            loop._epoch += 1
