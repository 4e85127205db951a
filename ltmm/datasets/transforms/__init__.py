from .cifar_auto_augment import CIFARAutoAugment
from .curriculum_augment import CurriculumAugment
from .cutout import Cutout
from .photometric_distortion import PhotoMetricDistortion
from .random_side_crop import RandomSideCrop

__all__ = ['CIFARAutoAugment', 'CurriculumAugment', 'Cutout', 'PhotoMetricDistortion', 'RandomSideCrop']
