"""Stop at the batch that breaks the training, and say which it was."""

from collections.abc import Sequence

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ltmm.registry import HOOKS

__all__ = ['InvalidLossHook']


@HOOKS.register_module()
class InvalidLossHook(Hook):
    """Stops the training at the first loss that is not finite, before a checkpoint is written.

    Args:
        interval: iterations between two looks, beside one at the end of each epoch; 1 names the very batch, at one
            device synchronisation an iteration.

    Raises:
        FloatingPointError: names the loss term, its value, the iteration, and the images of the batch.
    """

    priority = 'VERY_HIGH'

    def __init__(self, interval: int = 1) -> None:
        if interval < 1:
            raise ValueError(f'Expected `interval` to be at least 1, but got {interval}.')
        self.interval = interval

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None, outputs: dict | None = None
    ) -> None:
        """Look at the losses of this iteration."""
        is_last = self.end_of_epoch(runner.train_dataloader, batch_idx)  # a checkpoint may follow
        if not (is_last or self.every_n_train_iters(runner, self.interval)):
            return
        terms = {name: value.detach() for name, value in outputs.items() if 'loss' in name}
        if torch.stack([value.float().sum() for value in terms.values()]).isfinite().all():
            return
        bad = {name: value.item() for name, value in terms.items() if not value.isfinite().all()}
        raise FloatingPointError(
            f'Loss is not finite at epoch {runner.epoch + 1}, iteration {runner.iter + 1}: {bad}. '
            f'Images of the batch: {_ids(data_batch)}. The last checkpoint is untouched. '
            'Look at these images and labels, lower the learning rate, or clip gradients.'
        )


def _ids(data_batch: dict) -> list:
    """What tells the samples of a batch apart: path, image id or index."""
    samples = data_batch.get('data_samples', []) if isinstance(data_batch, dict) else []
    return [_id(sample) for sample in (samples if isinstance(samples, Sequence) else [samples])]


def _id(sample: object) -> object:
    meta = getattr(sample, 'metainfo', {})
    return next((meta[key] for key in ('img_path', 'img_id', 'sample_idx') if meta.get(key) is not None), '?')
