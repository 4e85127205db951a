"""Linear classifier with a second one beside it."""

from torch import nn

from ltmm.registry import MODELS

__all__ = ['TwoBranchLinear']


@MODELS.register_module()
class TwoBranchLinear(nn.Linear):
    """Linear classifier that predicts, beside a second one, ``uniform``, that only helps to train the features.

    ``ltmm.CumulativeLoss`` trains ``uniform`` by plain cross entropy, which frequent classes dominate, and the layer
    itself by a loss in which rare classes count more. ``weight`` and ``bias`` are those of the layer that predicts.

    [0] Du et al., Global and Local Mixture Consistency Cumulative Learning for Long-tailed Visual Recognitions,
        CVPR 2023, arXiv 2305.08661, whose code names the layers ``fc_cb`` and ``fc``.

    Args:
        in_features: D.
        out_features: C.
        bias: Add a bias per class to both.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        self.uniform = nn.Linear(in_features, out_features, bias)
