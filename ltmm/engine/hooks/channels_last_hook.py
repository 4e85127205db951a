"""Images and weights of convolutions with the channels in the last place in memory."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.models import BaseClassifier
from torch import Tensor, nn

from ltmm.registry import HOOKS
from ltmm.utils.errors import InputError
from ltmm.utils.wrappers import unwrap_model

__all__ = ['ChannelsLastHook']


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Stores the weights of a classifier, and its images, with the channels last, which makes convolutions faster.

    Shapes and names stay; results differ by rounding. With automatic mixed precision, ResNet-50 on a CPU takes about
    half the time. Detectors are refused: the compiled operators of mmcv, such as RoIAlign, read the memory of feature
    maps as if the channels came first.
    """

    def before_run(self, runner: Runner) -> None:
        """Convert the weights; the images at the first convolution."""
        model = unwrap_model(runner.model)
        if not isinstance(model, BaseClassifier):
            raise InputError(f'ChannelsLastHook is for classifiers, but the model is {type(model).__name__}.')
        model.to(memory_format=torch.channels_last)
        first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
        if first is not None:
            first.register_forward_pre_hook(_convert)


def _convert(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return tuple(x.contiguous(memory_format=torch.channels_last) for x in inputs)
