"""Pre-training by rotations: the network tells by how many quarter turns an image was rotated."""

import numpy as np
import torch
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

__all__ = ['RotationPretrainer', 'draw_quarter_turns', 'rotated']


def draw_quarter_turns(num_images: int) -> Tensor:
    """Draw 0 to 3 quarter turns for each image, (N,): as even as a permutation of 0, 1, 2, 3, 0, 1, ... cut to N."""
    return torch.from_numpy(np.random.permutation([0, 1, 2, 3] * (num_images // 4 + 1))[:num_images])


def rotated(images: Tensor, quarter_turns: Tensor) -> Tensor:
    """Rotate each image counter-clockwise.

    Args:
        images: Square, (N, C, H, W).
        quarter_turns: 0 to 3, (N,).
    """
    turned = torch.stack([torch.rot90(images, k, (2, 3)) for k in range(4)])  # (4, N, C, H, W)
    return turned[quarter_turns, torch.arange(len(images), device=images.device)]


@MODELS.register_module()
class RotationPretrainer(BaseSelfSupervisor):
    """Self-supervised model that tells by how many quarter turns each image was rotated, the pre-training of SSP.

    It learns the features of a backbone without labels, so that frequent classes do not shape them alone. The head has
    four classes, such as ``dict(type='LinearClsHead', num_classes=4, in_channels=64)``.

    References:
        [0] Yang and Xu, Rethinking the Value of Labels for Improving Class-Imbalanced Learning, NeurIPS 2020, arXiv
            2006.07529.
        [1] github.com/YyzHarry/imbalanced-semi-self @b91ad29. Reproduces [1] to 1e-6, with the training that follows
            (tests/conformance, ``imbalanced_semi_self`` and ``trajectory_ssp_rotation``).
        [2] Gidaris et al., Unsupervised Representation Learning by Predicting Image Rotations, ICLR 2018, arXiv
            1803.07728, of which [1] shows each image in one rotation instead of in all four.
    """

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Compute the loss of the head on rotated images.

        Args:
            inputs: Square images, (N, C, H, W).
            data_samples: Not used; they may have no labels.
        """
        if not isinstance(inputs, Tensor) or inputs.dim() != 4 or inputs.size(2) != inputs.size(3):
            got = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
            raise InputError(
                f'RotationPretrainer: expected one view of square images (N, C, H, H), but got {got}: crop or resize '
                'them in the pipeline.'
            )
        turns = draw_quarter_turns(len(inputs)).to(inputs.device)
        features = self.extract_feat(rotated(inputs, turns))
        if self.with_neck:
            features = self.neck(features)
        return self.head.loss(features, [DataSample().set_gt_label(turn) for turn in turns.split(1)])
