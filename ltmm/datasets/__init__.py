from ltmm.utils.environment import mmdet_is_usable

from .cifar import CIFAR10, CIFAR100
from .fashion_mnist import FashionMNIST
from .feature_dataset import FeatureDataset, collate_features
from .holdout import Holdout, split_holdout
from .label_table import LabelTable
from .list_file import ImageNetLT, INaturalist2018, PlacesLT
from .long_tailed import LongTailed, long_tailed_counts, select_long_tailed
from .selection import Selection
from .shifted_test_set import ShiftedTestSet
from .transforms import *

if mmdet_is_usable():
    from .lvis import *
