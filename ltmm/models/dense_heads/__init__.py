from ltmm.utils.environment import mmdet_is_usable

if mmdet_is_usable():
    from .anchor_heads import *
    from .deformable_detr_head import *
