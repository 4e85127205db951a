from .convfc_bbox_head import ConvFCBBoxHead, Shared2FCBBoxHead, Shared4Conv1FCBBoxHead
from .multi_expert_bbox_head import MultiExpertBBoxHead

__all__ = ['ConvFCBBoxHead', 'MultiExpertBBoxHead', 'Shared2FCBBoxHead', 'Shared4Conv1FCBBoxHead']
