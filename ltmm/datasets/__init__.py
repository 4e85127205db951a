from ltmm.utils.environment import mmdet_is_usable

from .cifar import CIFAR10, CIFAR100
from .cifar100_mosaics import CIFAR100Mosaics
from .detection_as_multi_label import DetectionAsMultiLabel
from .fashion_mnist import FashionMNIST
from .feature_dataset import FeatureDataset, collate_features
from .holdout import Holdout, split_holdout
from .label_table import LabelTable
from .list_file import ImageNetLT, INaturalist2018, PlacesLT
from .long_tailed import LongTailed, long_tailed_counts, select_long_tailed
from .multi_label_lt import COCOMLT, VOCMLT
from .partial_labels import PartialLabels
from .selection import Selection
from .shifted_test_set import ShiftedTestSet
from .transforms import *

if mmdet_is_usable():
    from .lvis import *
    from .smooth_tail import *
