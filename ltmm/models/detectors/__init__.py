from ltmm.utils.environment import mmdet_is_usable

if mmdet_is_usable():
    from .distill_deformable_detr import *
    from .distill_two_stage import *
