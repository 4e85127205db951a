"""Randomness that depends on the epoch alone, so that a resumed run equals one that never stopped."""

from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner, set_random_seed

from ltmm.registry import HOOKS

__all__ = ['EpochSeedHook']


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seeds all generators at the start of each epoch from (seed, epoch, rank).

    MMEngine seeds once a run: augmentation and dropout after a resume then differ from those of a run that went
    through, and with workers that live for one epoch every epoch draws the same augmentations. With this hook an epoch
    draws the same numbers whatever came before it. Data workers inherit the epoch's seed, for which they have to live
    for one epoch (``persistent_workers=False``).

    It works with epoch-based training; a run by iterations is seeded once, as MMEngine does.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Let data workers draw their seeds from the generator of the main process; keep the resumed seed's order."""
        loader = runner.train_dataloader
        if getattr(loader.worker_init_fn, 'func', loader.worker_init_fn) is worker_init_fn:
            loader.worker_init_fn = None  # PyTorch's own seeding: main generator + worker id, for numpy and random too
        if loader.num_workers and loader.persistent_workers and isinstance(runner.train_loop, EpochBasedTrainLoop):
            runner.logger.warning(
                'train_dataloader.persistent_workers=True: augmentations after a resume will differ from those of a '
                'run that never stopped. Set it to False for exact resume.'
            )
        sampler = getattr(loader.batch_sampler, 'sampler', loader.sampler)
        if getattr(sampler, 'seed', None) is not None and runner._resume:
            sampler.seed = runner.seed  # a run with seed=None drew a new one before it met its checkpoint

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed this epoch."""
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            # 2 ** 20 epochs before two seeds of neighbouring runs meet; numpy takes 32 bits
            set_random_seed((runner.seed * 2**20 + runner.epoch + 7919 * get_rank()) % 2**32)
