from ltmm.utils.environment import mmdet_is_usable

from .base import Stage
from .feature_extraction import FeatureExtractionStage
from .post_process_stage import PostProcessStage
from .pretrain_stage import PretrainStage
from .pseudo_label_stage import PseudoLabelStage
from .runner import check_needs_no_stage, first_to_run, link_result, read_stages, run_stages
from .teacher_stage import TeacherStage
from .train_stage import TrainStage

if mmdet_is_usable():
    from .exemplar_mining import *

__all__ = [
    'FeatureExtractionStage',
    'PostProcessStage',
    'PretrainStage',
    'PseudoLabelStage',
    'Stage',
    'TeacherStage',
    'TrainStage',
    'check_needs_no_stage',
    'first_to_run',
    'link_result',
    'read_stages',
    'run_stages',
]
