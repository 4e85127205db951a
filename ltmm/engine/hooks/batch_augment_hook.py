"""Connect batch augmentations to the training: class counts, progress, partners from a second stream."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.models.losses import SeesawLoss
from mmpretrain.models.utils import ClsDataPreprocessor
from torch import nn

from ltmm.models.batch_augments import PartnerBatchAugment, PartnerStream
from ltmm.registry import DATA_SAMPLERS, HOOKS
from ltmm.utils.errors import InputError
from ltmm.utils.loaders import loader_like
from ltmm.utils.wrappers import unwrap_model

__all__ = ['BatchAugmentHook']


@HOOKS.register_module()
class BatchAugmentHook(Hook):
    """Makes the batch augmentations of ltmm modules of the model, and opens the second stream that some need.

    As modules, they get the class distribution and the progress from the same hooks as losses do.
    """

    priority = 'HIGHEST'  # before ClassDistributionHook hands out

    def before_run(self, runner: Runner) -> None:
        """Add the augmentations to their data preprocessor."""
        model = unwrap_model(runner.model)
        for preprocessor in _preprocessors(model):
            augments = [step for step in preprocessor.batch_augments.augments if isinstance(step, nn.Module)]
            preprocessor.add_module('augments', nn.ModuleList(augments).to(preprocessor.device))
            for name, module in model.named_modules():
                if isinstance(module, SeesawLoss):
                    raise InputError(
                        f'SeesawLoss of mmpretrain (model.{name}) takes class indices, not the soft labels of batch '
                        'augmentations: leave `augments` out of the config.'
                    )

    def before_train(self, runner: Runner) -> None:
        """Open the streams; a resumed seed is known only now."""
        for preprocessor in _preprocessors(unwrap_model(runner.model)):
            for augment in preprocessor.augments:
                if isinstance(augment, PartnerBatchAugment):
                    loader = runner.train_dataloader
                    stream = dict(dataset=loader.dataset, seed=runner.seed + 1)  # not in the order of the first one
                    sampler = DATA_SAMPLERS.build(augment.sampler, default_args=stream)
                    augment.partners = PartnerStream(loader_like(loader, loader.dataset, sampler), preprocessor)


def _preprocessors(model: nn.Module) -> list[ClsDataPreprocessor]:
    """Return the data preprocessors with batch augmentations."""
    found = [module for module in model.modules() if isinstance(module, ClsDataPreprocessor)]
    return [preprocessor for preprocessor in found if preprocessor.batch_augments is not None]
