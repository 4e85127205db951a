"""Stop training at a loss that is not finite."""

from collections.abc import Sequence

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import IterableDataset

from ltmm.registry import HOOKS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

__all__ = ['InvalidLossHook']


@HOOKS.register_module()
class InvalidLossHook(Hook):
    """Stops training at the first loss that is not finite, before a checkpoint is written.

    The FloatingPointError names the loss, the iteration and the images of the batch.

    Args:
        interval: Check every so many iterations, and at the end of each epoch. Each check synchronizes the device.
    """

    priority = 'VERY_HIGH'

    def __init__(self, interval: int = 1) -> None:
        check(interval=(interval, 'int >= 1'))
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Refuse a training without a batch, which would end at once without a loss."""
        loader = runner.train_dataloader
        if isinstance(loader.dataset, IterableDataset):  # has no length
            return
        if not len(loader):
            raise InputError(
                f'train_dataloader has no batch: {len(loader.sampler)} samples, batch_size={loader.batch_size}, '
                f'drop_last={loader.drop_last}. Lower batch_size, or set drop_last=False.'
            )

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Check the losses of this iteration."""
        is_last = self.end_of_epoch(runner.train_dataloader, batch_idx)  # a checkpoint may follow
        if not (is_last or self.every_n_train_iters(runner, self.interval)):
            return
        losses = {name: value.detach() for name, value in outputs.items() if 'loss' in name}
        if torch.stack([value.float().sum() for value in losses.values()]).isfinite().all():
            return
        bad = {name: value.item() for name, value in losses.items() if not value.isfinite().all()}
        place = f'epoch {runner.epoch + 1}, iteration {runner.iter + 1}'
        raise FloatingPointError(
            f'Loss is not finite at {place}: {bad}. {_images(data_batch)}. Check these images and labels, lower the '
            'learning rate, or clip gradients.'
        )


def _images(data_batch: dict) -> str:
    """Name the images that are not finite, or else all images of the batch."""
    ids, inputs = _ids(data_batch), data_batch.get('inputs') if isinstance(data_batch, dict) else None
    images = inputs if isinstance(inputs, (list, torch.Tensor)) else []  # a dict has several views
    if len(images) == len(ids) and all(isinstance(image, torch.Tensor) for image in images):
        ids_of_bad = [i for i, image in zip(ids, images) if not image.isfinite().all()]
        if ids_of_bad:
            return f'Images that are not finite: {ids_of_bad}'
    return f'Images of the batch: {ids}'


def _ids(data_batch: dict) -> list:
    """Return the path, image id or index per sample."""
    samples = data_batch.get('data_samples', []) if isinstance(data_batch, dict) else []
    if isinstance(samples, dict) and all(isinstance(part, list) for part in samples.values()):  # (un)labeled ones
        samples = [sample for part in samples.values() for sample in part]
    samples = samples if isinstance(samples, Sequence) else [samples]
    metas = [getattr(sample, 'metainfo', {}) for sample in samples]
    keys = ('img_path', 'img_id', 'sample_idx')
    return [next((meta[key] for key in keys if meta.get(key) is not None), '?') for meta in metas]
