"""Consistency of two views of each image, without negatives, as in SimSiam and GLMC."""

import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from ..base import divisor
from ..objective import LossInputs, Objective
from .projection import check_features

__all__ = ['ViewConsistencyLoss', 'view_consistency']


def view_consistency(projected: Tensor, predicted: Tensor) -> Tensor:
    """Return the cosine of the prediction of each view with the projection of the other, summed over both, (N,).

    Args:
        projected: (2, N, D); they get no gradient.
        predicted: (2, N, D).
    """
    return F.cosine_similarity(predicted, projected.detach().flip(0), dim=-1).sum(0)


@MODELS.register_module()
class ViewConsistencyLoss(Objective):
    r"""Pulls the features of two views of an image together without labels: all images count alike, rare or frequent.

    .. math:: -\cos(p_1, \bar z_2) - \cos(p_2, \bar z_1), \qquad z = P f, \quad p = Q z

    P and Q are linear layers, and :math:`\bar z` gets no gradient. The loss is a mean over images, at least -2. Use it
    in ``aux_losses`` with two views of each image; its ``weight`` is kappa of GLMC. The predictor Q keeps all features
    from becoming equal, beside a loss of labels.

    References:
        [0] Chen and He, Exploring Simple Siamese Representation Learning, CVPR 2021, arXiv 2011.10566, with a deeper
            projector and predictor, and half of the sum.
        [1] Du et al., Global and Local Mixture Consistency Cumulative Learning for Long-tailed Visual Recognitions,
            CVPR 2023, arXiv 2305.08661; github.com/ynu-yangpeng/GLMC @2c0261c. Reproduces this code to 1e-6
            (tests/conformance, ``glmc`` and ``trajectory_glmc``).

    Args:
        in_channels: Width of the features.
        feat_dim: D, width of projection and prediction; 128 or 256 in the code of [1].
    """

    requires = ('features',)

    def __init__(self, *, in_channels: int, feat_dim: int = 128) -> None:
        super().__init__()
        check(in_channels=(in_channels, 'int >= 1'), feat_dim=(feat_dim, 'int >= 1'))
        self.projector, self.predictor = nn.Linear(in_channels, feat_dim), nn.Linear(feat_dim, feat_dim)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        projected = self.projector(inputs.features).unflatten(0, (2, len(inputs.label)))  # (2, N, D)
        consistency = view_consistency(projected, self.predictor(projected))
        return dict(loss_consistency=-consistency.sum() / divisor(len(inputs.label), consistency))

    def _check(self, inputs: LossInputs) -> None:
        check_features(self, inputs, self.projector.in_features, num_views=2)
