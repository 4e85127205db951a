"""Long-tailed video classification on feature files: the data set; the head is :class:`ltmm.models.LMRHead`."""

from .dataset import VideoFeatureDataset, pick_frames, read_class_names, read_ssv2_list

__all__ = ['VideoFeatureDataset', 'pick_frames', 'read_class_names', 'read_ssv2_list']
