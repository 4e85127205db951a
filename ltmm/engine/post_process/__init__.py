from ltmm.utils.environment import mmdet_is_usable

from .classifier_post_processor import ClassifierPostProcessor
from .conformal_post_processor import ConformalPostProcessor
from .gla_post_processor import GLAPostProcessor
from .logit_files import LogitFiles, build_logit_files
from .post_processor import PostProcessor, build_post_processor, post_process
from .split_outputs import SplitOutputs

if mmdet_is_usable():
    from .detector_post_processor import *

__all__ = [
    'ClassifierPostProcessor',
    'ConformalPostProcessor',
    'GLAPostProcessor',
    'LogitFiles',
    'PostProcessor',
    'SplitOutputs',
    'build_logit_files',
    'build_post_processor',
    'post_process',
]
