"""Start the epochs of the prototype contrast."""

import torch
from mmengine.runner import Runner

from ltmm.engine.hooks.progress_hook import BeforeEpochHook
from ltmm.registry import HOOKS
from ltmm.utils.errors import InputTypeError
from ltmm.utils.wrappers import unwrap_model

from .predictor import TrajectoryPredictor

__all__ = ['PrototypeContrastHook']


@HOOKS.register_module()
class PrototypeContrastHook(BeforeEpochHook):
    """Gives the tracks of the training set to a :class:`TrajectoryPredictor` before every epoch, for clusters and
    prototypes, in which rare manoeuvres get their own.
    """

    priority = 'HIGH'  # after ProgressHook

    def before_every_epoch(self, runner: Runner, epoch: int) -> None:
        model = unwrap_model(runner.model)
        if not isinstance(model, TrajectoryPredictor):
            raise InputTypeError(
                f'PrototypeContrastHook: expected ltmm.TrajectoryPredictor, but got {type(model).__name__}.'
            )
        dataset = runner.train_dataloader.dataset
        model.train()  # the loop does it after this hook
        model.start_epoch(*(torch.as_tensor(tracks) for tracks in dataset.tracks()), seed=runner.seed)
