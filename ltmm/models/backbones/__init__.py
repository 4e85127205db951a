from .resnet import ResNet
from .resnet_cifar import ResNetCIFAR

__all__ = ['ResNet', 'ResNetCIFAR']
