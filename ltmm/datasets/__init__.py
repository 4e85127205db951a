"""Datasets, their wrappers, labels, transforms and samplers.

``from ltmm.datasets import X`` finds X in the modules below, and imports a module only when something in it is needed.
"""
from .cifar import CIFAR10, CIFAR100
from .cifar100_mosaics import CIFAR100Mosaics
from .csv_dataset import CSVDataset
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

from ltmm.registry import DATASET_PACKAGES
from ltmm.utils.lazy import lazy_attributes

__getattr__ = lazy_attributes(__name__, DATASET_PACKAGES)
