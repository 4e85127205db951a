"""One epoch of a classifier-only stage on cached features, against the same through the frozen backbone.

Both through the Runner with all hooks, CIFAR100-LT's 10,847 samples (random pixels and features, which take as long as
real ones): ResNet-50 at 64 px and the CIFAR ResNet-32, batch 128 and 512. An epoch through the backbone is estimated
from some of its iterations.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from ltmm.datasets import long_tailed_counts
from ltmm.datasets.feature_dataset import feature_files
from ltmm.registry import DATASETS

ROOT = Path(__file__).resolve().parents[2]
LABELS = np.repeat(np.arange(100), long_tailed_counts(500.0, 100, 100))
CLASSES = [f'class {c}' for c in range(100)]
BACKBONES = {
    'ResNet-50, 64 px': ('configs/cifar100_lt_features/resnet50_64px.py', 2048),
    'ResNet-32, 32 px': ('configs/cifar100_lt/ce_r32.py', 64),
}


@DATASETS.register_module()
class RandomImages(BaseDataset):
    """32x32 colour images with the labels of CIFAR100-LT."""

    METAINFO = dict(classes=CLASSES)

    def load_data_list(self) -> list[dict]:
        """One record an image, all with the same pixels."""
        image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        return [dict(img=image, gt_label=int(label)) for label in LABELS]


def runner_of(cfg: Config, work_dir: str) -> Runner:
    """A runner that is ready for its first epoch."""
    cfg.work_dir = work_dir
    cfg.experiment_name = f'feature_epoch_{time.time_ns()}'
    cfg.default_hooks.checkpoint = None
    cfg.log_level = 'WARNING'
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg[key] = None
    runner = Runner.from_cfg(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner.call_hook('before_run')
    runner.optim_wrapper.initialize_count_status(runner.model, 0, 10**9)
    runner.call_hook('before_train')
    return runner


def features_runner(width: int, batch_size: int, work_dir: str) -> Runner:
    """A linear classifier on random features."""
    folder = Path(work_dir, f'features_{width}')
    if not folder.is_dir():
        folder.mkdir()
        files = feature_files(folder, 'train')
        np.save(files['features'], np.random.default_rng(0).random((len(LABELS), width), dtype=np.float32))
        np.save(files['labels'], LABELS)
        files['info'].write_text(json.dumps(dict(classes=CLASSES)))
    cfg = Config.fromfile(ROOT / 'configs/cifar100_lt_features/class_aware.py')
    dataset = dict(type='ltmm.FeatureDataset', data_root=str(folder), split='train')
    cfg.train_dataloader = {**cfg.train_dataloader, 'batch_size': batch_size, 'dataset': dataset}
    cfg.model.head.in_channels = width
    return runner_of(cfg, work_dir)


def backbone_runner(config: str, batch_size: int, work_dir: str) -> Runner:
    """The same classifier at the end of a frozen backbone, which stays in training mode as in Decoupling's code."""
    images = Config.fromfile(ROOT / config)
    cfg = Config.fromfile(ROOT / 'configs/cifar100_lt_features/class_aware.py')
    cfg.model, cfg.data_preprocessor = images.model, images.data_preprocessor
    cfg.model.backbone.pop('init_cfg', None)
    pipeline = images.get('pipeline') or images.train_pipeline
    cfg.train_dataloader = dict(
        batch_size=batch_size,
        num_workers=2,
        collate_fn=dict(type='default_collate'),
        sampler=cfg.train_dataloader.sampler,
        dataset=dict(type='ltmm.RandomImages', pipeline=pipeline),
    )
    runner = runner_of(cfg, work_dir)
    runner.model.backbone.requires_grad_(False)
    return runner


def seconds_of_epoch(runner: Runner, epochs: int) -> float:
    """Median time of whole epochs, after one to warm up."""
    seconds = []
    for _ in range(epochs + 1):
        start = time.perf_counter()
        runner.train_loop.run_epoch()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def estimated_seconds_of_epoch(runner: Runner, iterations: int) -> float:
    """From the median of some iterations, loading included, after two to warm up."""
    loop, seconds = runner.train_loop, []
    runner.call_hook('before_train_epoch')
    runner.model.train()
    start = time.perf_counter()
    for index, batch in enumerate(itertools.islice(loop.dataloader, iterations + 2)):
        loop.run_iter(index, batch)
        seconds.append(time.perf_counter() - start)
        start = time.perf_counter()
    return statistics.median(seconds[2:]) * len(loop.dataloader)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[128, 512])
    parser.add_argument('--iterations', type=int, default=8, help='through the backbone, of which the median is taken')
    parser.add_argument('--epochs', type=int, default=5, help='on features, of which the median is taken')
    args = parser.parse_args()
    init_default_scope('mmpretrain')
    rows = []
    with tempfile.TemporaryDirectory() as work_dir:
        for (name, (config, width)), batch_size in itertools.product(BACKBONES.items(), args.batch_sizes):
            slow = estimated_seconds_of_epoch(backbone_runner(config, batch_size, work_dir), args.iterations)
            fast = seconds_of_epoch(features_runner(width, batch_size, work_dir), args.epochs)
            rows.append(
                f'{name}, batch {batch_size}: through the backbone {slow:.1f} s an epoch, on features {fast:.3f} s, '
                f'ratio {slow / fast:.0f}'
            )
    print('\n'.join(rows))


if __name__ == '__main__':
    main()
