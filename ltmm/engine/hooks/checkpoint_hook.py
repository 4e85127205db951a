"""Checkpoints that are written atomically and load with ``weights_only=True``."""

import os
from typing import Any

import numpy as np
import torch
from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from ltmm.models.state.class_distribution import move_to_meta
from ltmm.registry import HOOKS
from ltmm.utils import atomic_backend  # noqa: F401  (registers 'ltmm.atomic')
from ltmm.utils.errors import InputError, did_you_mean

__all__ = ['SafeCheckpointHook']


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook with atomic writes.

    An old checkpoint is deleted only after the new one is on disk. Checkpoints contain only tensors and plain Python
    values, so ``torch.load(..., weights_only=True)`` reads them.

    Args:
        *args: See :class:`mmengine.hooks.CheckpointHook`.
        **kwargs: See :class:`mmengine.hooks.CheckpointHook`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if kwargs.get('backend_args') is None and kwargs.get('file_client_args') is None:
            kwargs['backend_args'] = dict(backend='ltmm.atomic')
        super().__init__(*args, **kwargs)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Convert values that need pickle to tensors and plain values."""
        move_to_meta(checkpoint)
        for key in ('meta', 'message_hub', 'param_schedulers', 'optimizer'):
            if key in checkpoint:
                checkpoint[key] = _to_plain(checkpoint[key])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Convert the log history back, for resuming."""
        meta, message_hub = checkpoint.get('meta', {}), checkpoint.get('message_hub', {})
        if runner._resume and not (
            all(isinstance(meta.get(key), int) for key in ('epoch', 'iter'))
            and {'log_scalars', 'runtime_info', 'resumed_keys'} <= message_hub.keys()
        ):
            raise InputError(
                'Expected the checkpoint of a training, with epoch and iteration, but it has only weights. Start from '
                'them by --cfg-options load_from=CHECKPOINT, without --resume.'
            )
        scalars = message_hub.get('log_scalars', {})
        for name, value in scalars.items():
            if isinstance(value, dict):
                scalars[name] = _history(name, value)

    def before_train(self, runner: Runner) -> None:
        """Take over from a resumed checkpoint only names of files in the own folder, since the hook deletes them."""
        info = runner.message_hub.runtime_info
        if 'keep_ckpt_ids' in info:
            steps = info['keep_ckpt_ids']
            info['keep_ckpt_ids'] = steps if _is_list_of_int(steps) else []
        super().before_train(runner)
        if self.save_best:
            several = len(self.key_indicators) > 1
            paths = dict(self.best_ckpt_path_dict) if several else {None: self.best_ckpt_path}
            own = {key: os.path.join(self.out_dir, os.path.basename(str(path or ''))) for key, path in paths.items()}
            self._set_best({key: path if self.file_backend.isfile(path) else None for key, path in own.items()})

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        stale, previous = None, self.last_ckpt
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                stale = self.keep_ckpt_ids.popleft()
            self.keep_ckpt_ids.append(step)  # so the parent deletes nothing
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        try:
            super()._save_checkpoint_with_step(runner, step, meta)
        except OSError as e:
            raise self._write_error(e, self.filename_tmpl.format(step), previous) from e
        if stale is not None and is_main_process():
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(stale))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        if missing := [key for key in self.key_indicators if key not in ('auto', *metrics)]:
            raise InputError(
                f'Expected `save_best` to be a figure of the validation, but {missing[0]!r} is none.'
                f'{did_you_mean(missing[0], metrics)} A group without tested classes, such as few, has no figure.'
            )
        several = len(self.key_indicators) > 1
        before = dict(self.best_ckpt_path_dict) if several else {None: self.best_ckpt_path}
        self._set_best(dict.fromkeys(before))  # the parent would delete these before it saves
        try:
            super()._save_best_checkpoint(runner, metrics)
        except OSError as e:
            self._set_best(before)
            raise self._write_error(e, 'of the best figures', next(filter(None, before.values()), None)) from e
        after = self.best_ckpt_path_dict if several else {None: self.best_ckpt_path}
        self._set_best({key: after.get(key) or path for key, path in before.items()})
        for key, path in before.items():
            if path and after.get(key) not in (None, path) and is_main_process() and self.file_backend.isfile(path):
                self.file_backend.remove(path)

    def _set_best(self, paths: dict) -> None:
        if None in paths:
            self.best_ckpt_path = paths[None]
        else:
            self.best_ckpt_path_dict = paths

    def _write_error(self, error: OSError, what: str, previous: str | None) -> OSError:
        rest = f'The previous one is {previous}. Free some space and resume.' if previous else ''
        return OSError(error.errno, f'Cannot write the checkpoint {what}: {error.strerror}. {rest}', self.out_dir)


def _history(name: str, value: dict) -> HistoryBuffer:
    try:
        return HistoryBuffer(value['history'].tolist(), value['counts'].tolist())
    except (KeyError, AttributeError, TypeError, AssertionError):
        raise InputError(f'The log of {name} in the checkpoint is damaged.') from None


def _is_list_of_int(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, int) for item in value)


def _to_plain(value: Any) -> Any:
    """Convert numpy scalars and arrays to Python numbers and tensors, in nested containers too."""
    if isinstance(value, HistoryBuffer):
        history, counts = value.data
        return dict(history=torch.from_numpy(np.array(history)), counts=torch.from_numpy(np.array(counts)))
    if isinstance(value, dict):
        return {_to_plain(k): _to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return (list if type(value) is list else tuple)(map(_to_plain, value))
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    return value
