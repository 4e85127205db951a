from ltmm.utils.environment import mmdet_is_usable

from .cifar import CIFAR10, CIFAR100
from .cifar100_mosaics import CIFAR100Mosaics
from .custom import CustomDataset
from .detection_as_multi_label import DetectionAsMultiLabel
from .fashion_mnist import FashionMNIST
from .feature_dataset import FeatureDataset, collate_features
from .images import without_broken_images
from .labels import *
from .list_file import ImageNetLT, INaturalist2018, PlacesLT
from .multi_label_lt import COCOMLT, VOCMLT
from .transforms import *
from .wrappers import *

if mmdet_is_usable():
    from .lvis import *
    from .voc import *
    from .wrappers.smooth_tail import *
