from ltmm.utils.environment import mmdet_is_usable

from .backbones import *
from .classifiers import *
from .data_preprocessors import *
from .heads import *
from .layers import *
from .losses import *
from .necks import *
from .post_process import *

if mmdet_is_usable():
    from .dense_heads import *
    from .detectors import *
    from .roi_heads import *
