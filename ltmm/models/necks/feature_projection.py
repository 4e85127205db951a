"""Linear projection of pooled features."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from ltmm.registry import MODELS

__all__ = ['FeatureProjection']


@MODELS.register_module()
class FeatureProjection(BaseModule):
    """Global average pooling (of feature maps) and a linear layer.

    Args:
        in_channels: Width of the last stage of the backbone.
        out_channels: D.
        log_softmax: Apply log-softmax over the D features, as COMIC does.
        init_cfg: Initialization.
    """

    def __init__(
        self, in_channels: int, out_channels: int, log_softmax: bool = False, init_cfg: dict | list | None = None
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.proj = nn.Linear(in_channels, out_channels)
        self.log_softmax = log_softmax

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return the features (N, D), in the tuple that mmpretrain's heads expect.

        Args:
            feats: The last is (N, in_channels) or (N, in_channels, H, W).
        """
        x = feats[-1]
        x = self.proj(x.mean(dim=(2, 3)) if x.dim() == 4 else x)
        return (x.log_softmax(dim=1) if self.log_softmax else x,)

    def extra_repr(self) -> str:
        return f'log_softmax={self.log_softmax}'
