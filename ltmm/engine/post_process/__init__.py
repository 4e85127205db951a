from ltmm.utils.environment import mmdet_is_usable

from .classifier_post_processor import ClassifierPostProcessor
from .conformal_post_processor import ConformalPostProcessor
from .gla_post_processor import GLAPostProcessor
from .post_processor import PostProcessor, build_post_processor, post_process
from .split_outputs import SplitOutputs

if mmdet_is_usable():
    from .detector_post_processor import *

__all__ = [
    'ClassifierPostProcessor',
    'ConformalPostProcessor',
    'GLAPostProcessor',
    'PostProcessor',
    'SplitOutputs',
    'build_post_processor',
    'post_process',
]
