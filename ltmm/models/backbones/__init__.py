from .identity import IdentityBackbone
from .multi_expert import MultiExpertBackbone
from .multi_expert_resnet import MultiExpertResNet, MultiExpertResNeXt
from .multi_expert_resnet_cifar import MultiExpertResNetCIFAR
from .preact_resnet_cifar import PreActResNetCIFAR
from .resnet import ResNet
from .resnet_cifar import ResNetCIFAR
from .shike_resnet_cifar import SHIKEResNetCIFAR
from .two_branch_resnet_cifar import TwoBranchResNetCIFAR
from .wide_resnet_cifar import WideResNetCIFAR

__all__ = [
    'IdentityBackbone',
    'PreActResNetCIFAR',
    'MultiExpertBackbone',
    'MultiExpertResNeXt',
    'MultiExpertResNet',
    'MultiExpertResNetCIFAR',
    'ResNet',
    'ResNetCIFAR',
    'SHIKEResNetCIFAR',
    'TwoBranchResNetCIFAR',
    'WideResNetCIFAR',
]
