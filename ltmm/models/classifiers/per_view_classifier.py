"""Classifier that passes the views of each image through its network one after the other."""

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

__all__ = ['PerViewClassifier']


@MODELS.register_module()
class PerViewClassifier(ImageClassifier):
    """Classifier whose batch norm sees one view of the images at a time; all views have gradients.

    Batch norm normalizes each view by its own statistics, and its running statistics move once per view.
    ``ImageClassifier`` passes all views in one batch. The head gets the rows of all views in both cases.

    References:
        [0] Cui et al., Generalized Parametric Contrastive Learning, TPAMI 2023, arXiv 2209.12400: GPaCo.
        [1] github.com/dvlab-research/Parametric-Contrastive-Learning @fe56535. Reproduces [1] to 1e-6
            (tests/conformance, ``trajectory_gpaco``).
        [2] Du et al., Global and Local Mixture Consistency Cumulative Learning for Long-tailed Visual Recognitions,
            CVPR 2023, arXiv 2305.08661: GLMC (``trajectory_glmc``).
    """

    def extract_views(self, inputs: Tensor, num_images: int) -> tuple[Tensor]:
        """Return the features of the last stage, of one view after the other: (V N, D), or (E, V N, D) of E experts.

        Args:
            inputs: Images in V views, view-major, (V N, 3, H, W).
            num_images: N.
        """
        if len(inputs) % num_images:
            raise InputError(f'PerViewClassifier: expected views of {num_images} images, but got {len(inputs)} rows.')
        return (torch.cat([self.extract_feat(view)[-1] for view in inputs.split(num_images)], dim=-2),)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        return self.head.loss(self.extract_views(inputs, len(data_samples)), data_samples)
