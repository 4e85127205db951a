"""How many pseudo-labels are right, of frequent and of rare classes."""

from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ltmm.datasets.labels import class_distribution_of
from ltmm.models.losses.semi.base import SemiSupervisedLoss
from ltmm.registry import HOOKS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError
from ltmm.utils.shots import thirds
from ltmm.utils.wrappers import unwrap_model

__all__ = ['PseudoLabelHook']


@HOOKS.register_module()
class PseudoLabelHook(Hook):
    """Logs the accuracy of the pseudo-labels that a semi-supervised loss uses, and how many images it uses.

    Both for all unlabeled images and for those of each third of the classes, by their labeled images:
    ``pseudo_accuracy``, ``pseudo_used`` and the same with ``_many``, ``_medium`` and ``_few``, over the iterations
    since the last report. The true labels come from the dataset, ``ltmm.SemiSupervised``; images without one do not
    count. The model never sees them.

    Args:
        interval: Iterations between two reports.
    """

    priority = 'ABOVE_NORMAL'  # before LoggerHook

    def __init__(self, interval: int = 50) -> None:
        check(interval=(interval, 'int >= 1'))
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Find the losses and read the true labels."""
        model, dataset = unwrap_model(runner.model), runner.train_dataloader.dataset
        self.losses = [module for module in model.modules() if isinstance(module, SemiSupervisedLoss)]
        if not self.losses or not hasattr(dataset, 'true_labels'):
            raise InputTypeError(
                'PseudoLabelHook needs a semi-supervised loss and the dataset ltmm.SemiSupervised, but got '
                f'{len(self.losses)} such losses and {type(dataset).__name__}.'
            )
        device, counts = next(model.parameters()).device, class_distribution_of(dataset).image_counts
        groups = {'': np.ones(len(counts), dtype=bool)}
        groups |= {f'_{name}': mask for name, mask in thirds(counts).items()}
        self.names = tuple(groups)
        self.labels = torch.as_tensor(dataset.true_labels, device=device)  # (N,)
        self.groups = torch.tensor([group.tolist() for group in groups.values()], device=device).double()  # (4, C)
        self.counts = self.labels.new_zeros(3, len(groups), dtype=torch.float64)  # images, used ones, right ones

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        for loss in self.losses:
            pseudo = loss.pseudo_labels
            if pseudo is None or pseudo.sample_idx is None:
                continue
            label = self.labels[pseudo.sample_idx]
            known = (label >= 0).double()
            used = known * pseudo.mask
            rows = torch.stack([known, used, used * (label == pseudo.label)])  # (3, M)
            self.counts += rows @ self.groups.T[label.clamp(min=0)]
        if self.every_n_train_iters(runner, self.interval):
            self._write(runner)

    def _write(self, runner: Runner) -> None:
        all_reduce(self.counts)
        images, used, right = self.counts.tolist()
        for name, total, num, hits in zip(self.names, images, used, right):
            if total:
                runner.message_hub.update_scalar(f'train/pseudo_used{name}', num / total)
            if num:
                runner.message_hub.update_scalar(f'train/pseudo_accuracy{name}', hits / num)
        self.counts.zero_()
