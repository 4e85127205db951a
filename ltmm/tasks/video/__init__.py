"""Long-tailed video classification on feature files: the data set; the head is :class:`ltmm.models.LMRHead`."""

from ltmm.utils.lazy import lazy_attributes

from .dataset import VideoFeatureDataset, pick_frames, read_class_names, read_ssv2_list

__getattr__ = lazy_attributes(__name__, ['ltmm.tasks.video.plot'])  # needs Matplotlib and mmpretrain

__all__ = ['VideoFeatureDataset', 'pick_frames', 'plot_reconstruction', 'read_class_names', 'read_ssv2_list']
