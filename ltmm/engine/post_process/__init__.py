from ltmm.utils.environment import mmdet_is_usable

from .classifier_post_processor import ClassifierPostProcessor
from .post_processor import PostProcessor, build_post_processor, post_process
from .split_outputs import SplitOutputs

if mmdet_is_usable():
    from .detector_post_processor import *

__all__ = ['ClassifierPostProcessor', 'PostProcessor', 'SplitOutputs', 'build_post_processor', 'post_process']
