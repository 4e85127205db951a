"""Log plots, tables and files of a training to its experiment trackers."""

import csv
from pathlib import Path

import cv2
from mmengine.dist import master_only
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmengine.visualization import MLflowVisBackend, TensorboardVisBackend, WandbVisBackend
from mmengine.visualization.vis_backend import BaseVisBackend

from ltmm.registry import HOOKS
from ltmm.visualization import plot_class_distribution

from .class_distribution_hook import ClassDistributionHook

__all__ = ['TrackingHook']


@HOOKS.register_module()
class TrackingHook(Hook):
    """Logs the files of a run to TensorBoard, MLflow and W&B: the plot of the classes, CSVs per class, the log.

    Scalars and config are logged by MMEngine. The plot is logged before the training, the CSVs and the log file after
    it. TensorBoard shows a CSV as a table, and gets no log file.
    """

    priority = 'NORMAL'  # before LoggerHook, which closes the backends

    @master_only
    def before_train(self, runner: Runner) -> None:
        path = Path(runner.log_dir, 'class_distribution.png')
        for hook in runner.hooks:
            if isinstance(hook, ClassDistributionHook) and hook.distribution is not None:
                log_files(runner, plot_class_distribution(hook.distribution, path))

    @master_only
    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Log the epoch beside the metrics to W&B, which ignores their step."""
        for backend in _backends(runner):
            if isinstance(backend, WandbVisBackend):
                backend.experiment.log(dict(epoch=runner.epoch, iter=runner.iter), commit=False)

    @master_only
    def after_run(self, runner: Runner) -> None:
        folder = Path(runner.log_dir)
        log_files(runner, *sorted(folder.glob('*.csv')), *sorted(folder.glob('*.log')))


def log_files(runner: Runner, *paths: Path) -> None:
    """Log .png, .csv and .log files to the trackers of a run."""
    for path in paths:
        for backend in _backends(runner):
            if isinstance(backend, MLflowVisBackend):
                backend.experiment.log_artifact(str(path))
            elif isinstance(backend, WandbVisBackend):
                backend.experiment.save(str(path), base_path=str(path.parent), policy='now')
            elif isinstance(backend, TensorboardVisBackend) and path.suffix == '.png':
                backend.add_image(path.stem, cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB))
            elif isinstance(backend, TensorboardVisBackend) and path.suffix == '.csv':
                backend.experiment.add_text(path.stem, _markdown(path))


def _markdown(path: Path) -> str:
    """Return a CSV file as a Markdown table."""
    with open(path, newline='', encoding='utf-8') as file:
        head, *rows = csv.reader(file)
    return '\n'.join('| ' + ' | '.join(row) + ' |' for row in [head, ['---'] * len(head), *rows])


def _backends(runner: Runner) -> list[BaseVisBackend]:
    return list(runner.visualizer._vis_backends.values())
