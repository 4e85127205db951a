"""Seed each epoch, so that a resumed run equals an uninterrupted one."""

import random
from itertools import islice

import numpy as np
import torch
from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank
from mmengine.hooks import DistSamplerSeedHook, Hook
from mmengine.runner import EpochBasedTrainLoop, Runner, set_random_seed
from torch.utils.data import Sampler

from ltmm.registry import HOOKS
from ltmm.utils.errors import InputError

__all__ = ['EpochSeedHook']

NUM_COMPARED = 100  # samples of two epochs


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds all random generators from (seed, epoch, rank) at the start of each epoch.

    MMEngine seeds once per run: after a resume, augmentation and dropout differ from an uninterrupted run, and workers
    that live for one epoch draw the same augmentations in every epoch. Workers get the seed of the epoch if
    ``persistent_workers=False``. Iteration-based training is seeded once, as in MMEngine. A sampler that would
    repeat one order in every epoch is an error.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Seed data workers from the main process, and give a resumed seed to the sampler."""
        loader = runner.train_dataloader
        if getattr(loader.worker_init_fn, 'func', loader.worker_init_fn) is worker_init_fn:
            loader.worker_init_fn = None  # PyTorch seeds them by main generator + worker id
        if loader.num_workers and loader.persistent_workers and isinstance(runner.train_loop, EpochBasedTrainLoop):
            runner.logger.warning(
                'train_dataloader.persistent_workers=True: augmentations after a resume will differ from those of a '
                'run that never stopped. Set it to False for exact resume.'
            )
        sampler = getattr(loader.batch_sampler, 'sampler', loader.sampler)
        if getattr(sampler, 'seed', None) is not None and runner._resume:
            sampler.seed = runner.seed  # with seed=None, a new one was drawn before the checkpoint was loaded
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            _check_orders_differ(sampler, any(isinstance(hook, DistSamplerSeedHook) for hook in runner.hooks))

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed this epoch."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            # different for 2 ** 20 epochs; numpy takes 32 bits
            set_random_seed((runner.seed * 2**20 + runner.epoch + 7919 * get_rank()) % 2**32)


def _check_orders_differ(sampler: Sampler, has_seed_hook: bool) -> None:
    """Refuse a shuffling sampler that gives two epochs the same order, as nobody tells it the epoch."""
    takes_epoch = hasattr(sampler, 'set_epoch')  # as MMEngine's hook asks
    if takes_epoch and has_seed_hook:
        return
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    first, second = list(islice(sampler, NUM_COMPARED)), list(islice(sampler, NUM_COMPARED))
    random.setstate(state[0])
    np.random.set_state(state[1])
    torch.set_rng_state(state[2])
    if first == second != sorted(first):
        remedy = (
            "Add sampler_seed=dict(type='DistSamplerSeedHook') to default_hooks, which calls set_epoch."
            if takes_epoch
            else 'Define set_epoch(epoch), and shuffle by a seed that depends on the epoch.'
        )
        raise InputError(f'{type(sampler).__name__} gives every epoch the same order. {remedy}')
