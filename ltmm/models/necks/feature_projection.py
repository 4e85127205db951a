"""Features of another width."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from ltmm.registry import MODELS

__all__ = ['FeatureProjection']


@MODELS.register_module()
class FeatureProjection(BaseModule):
    """Global average pooling, where the features are maps, and a linear layer.

    Args:
        in_channels: width of the last stage of the backbone.
        out_channels: D.
        log_softmax: take the logarithm of the softmax over the D features, as COMIC does.
        init_cfg: initialisation.
    """

    def __init__(
        self, in_channels: int, out_channels: int, log_softmax: bool = False, init_cfg: dict | list | None = None
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.proj = nn.Linear(in_channels, out_channels)
        self.log_softmax = log_softmax

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Features (N, D), in the tuple mmpretrain's heads expect.

        Args:
            feats: the last of them (N, in_channels) or (N, in_channels, H, W).
        """
        x = feats[-1]
        x = self.proj(x.mean(dim=(2, 3)) if x.dim() == 4 else x)
        return (x.log_softmax(dim=1) if self.log_softmax else x,)

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return f'log_softmax={self.log_softmax}'
