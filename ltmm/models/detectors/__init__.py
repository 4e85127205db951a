from .distill_deformable_detr import DistillDeformableDETR
from .distill_two_stage import DistillTwoStageDetector

__all__ = ['DistillDeformableDETR', 'DistillTwoStageDetector']
