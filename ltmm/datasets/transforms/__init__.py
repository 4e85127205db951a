from .cifar_auto_augment import CIFARAutoAugment
from .cutout import Cutout
from .photometric_distortion import PhotoMetricDistortion
from .random_side_crop import RandomSideCrop

__all__ = ['CIFARAutoAugment', 'Cutout', 'PhotoMetricDistortion', 'RandomSideCrop']
