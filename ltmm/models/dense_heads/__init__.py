from .anchor_heads import ATSSHead, RetinaHead
from .deformable_detr_head import DeformableDETRHead

__all__ = ['ATSSHead', 'DeformableDETRHead', 'RetinaHead']
