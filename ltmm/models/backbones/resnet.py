"""ResNet-10, the small backbone of ImageNet-LT papers."""

from mmpretrain.models.backbones import ResNet as MMPretrainResNet
from mmpretrain.models.backbones.resnet import BasicBlock

from ltmm.registry import MODELS

__all__ = ['ResNet']


@MODELS.register_module()
class ResNet(MMPretrainResNet):
    """mmpretrain's ResNet, with depth 10 (one basic block per stage) in addition to 18 to 152."""

    arch_settings = {10: (BasicBlock, (1, 1, 1, 1)), **MMPretrainResNet.arch_settings}
