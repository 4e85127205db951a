from ltmm.utils.environment import mmdet_is_usable

if mmdet_is_usable():
    from .bbox_heads import *
