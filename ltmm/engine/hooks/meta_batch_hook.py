"""Class-balanced batches beside those of the training, for methods that learn from what a step does to all classes."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels import class_distribution_of
from ltmm.registry import HOOKS
from ltmm.utils.class_names import class_names_of_dataset
from ltmm.utils.errors import InputTypeError
from ltmm.utils.loaders import endless
from ltmm.utils.wrappers import unwrap_model

__all__ = ['MetaBatchHook', 'build_meta_loader']


def build_meta_loader(runner: Runner, distribution: ClassDistribution, dataloader: dict | None = None) -> DataLoader:
    """Build the loader of meta batches, with the seed that a resumed run has by now.

    Args:
        runner: The runner.
        distribution: Of the training data.
        dataloader: Its config. Default: that of the training data, with one image of each class in turn, or drawn at
            random if some classes have none.
    """
    in_turn = dict(type='ltmm.ClassAwareSampler', num_samples_per_class=1)  # takes no empty classes
    cfg = dataloader or dict(
        runner.cfg.train_dataloader,
        dataset=runner.train_dataloader.dataset,
        sampler=in_turn if distribution.instance_counts.all() else dict(type='ltmm.PowerSampler', power=0),
    )
    loader = runner.build_dataloader(cfg, seed=runner.seed)
    loader.worker_init_fn = None  # as EpochSeedHook does for the training data
    distribution.check_classes(class_names_of_dataset(loader.dataset), 'the meta set')
    return loader


@HOOKS.register_module()
class MetaBatchHook(Hook):
    """Hands a class-balanced batch to the model before each iteration, for :class:`ltmm.models.SuperDiscoClassifier`.

    Args:
        dataloader: See :func:`build_meta_loader`.
    """

    def __init__(self, dataloader: dict | None = None) -> None:
        self.dataloader = dataloader

    def before_train(self, runner: Runner) -> None:
        """Build the loader."""
        self.model = unwrap_model(runner.model)
        if not hasattr(self.model, 'set_meta_batch'):
            raise InputTypeError(
                'MetaBatchHook needs a model that takes meta batches, such as ltmm.SuperDiscoClassifier, but got '
                f'{type(self.model).__name__}.'
            )
        distribution = class_distribution_of(runner.train_dataloader.dataset)
        self.loader = build_meta_loader(runner, distribution, self.dataloader)

    def before_train_epoch(self, runner: Runner) -> None:
        self.batches = endless(self.loader, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.model.set_meta_batch(next(self.batches))
