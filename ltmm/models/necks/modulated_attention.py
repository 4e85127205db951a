"""The modulated attention of OLTR."""

from mmengine.model import BaseModule
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.errors import InputError

__all__ = ['ModulatedAttention']


@MODELS.register_module()
class ModulatedAttention(BaseModule):
    r"""Adds self-attention to the feature maps, weighted by a softmax over the positions of each image.

    .. math:: x + \mathrm{softmax}(\mathrm{fc}(x)) \odot W_m \, \mathrm{softmax}(\theta(x)^\top \phi(x)) \, g(x)

    The maps keep their size: put a neck that pools them behind it, ``neck=[dict(type='ltmm.ModulatedAttention', ...),
    dict(type='GlobalAveragePooling')]``. It starts as the identity, :math:`W_m = 0`.

    [0] Liu et al., Large-Scale Long-Tailed Recognition in an Open World, CVPR 2019, arXiv 1904.05160.
    [1] github.com/zhmiao/OpenLongTailRecognition-OLTR @f50e375, ``ModulatedAttLayer``. Reproduces [1] to 1e-6
        (tests/conformance, ``oltr`` and ``trajectory_oltr``).

    Args:
        in_channels: D, channels of the last maps of the backbone.
        spatial_size: H = W of these maps, 7 for images of 224 pixels.
        init_cfg: Initialization.
    """

    def __init__(self, in_channels: int, spatial_size: int = 7, init_cfg: dict | list | None = None) -> None:
        super().__init__(init_cfg=init_cfg)
        self.spatial_size, width, places = spatial_size, in_channels // 2, spatial_size**2
        self.g, self.theta, self.phi = (nn.Conv2d(in_channels, width, 1) for _ in range(3))
        self.conv_mask = nn.Conv2d(width, in_channels, 1, bias=False)
        self.fc_spatial = nn.Linear(places * in_channels, places)
        for conv in (self.g, self.theta, self.phi):
            nn.init.kaiming_normal_(conv.weight)
            nn.init.zeros_(conv.bias)
        nn.init.zeros_(self.conv_mask.weight)

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return the last feature maps with attention, (N, D, H, W), as a tuple."""
        x = feats[-1]
        size = self.spatial_size
        if x.shape[2:] != (size, size):
            raise InputError(f'ModulatedAttention(spatial_size={size}) got maps of {tuple(x.shape[2:])}.')
        theta, phi, g = (conv(x).flatten(2) for conv in (self.theta, self.phi, self.g))  # (N, D / 2, HW)
        attention = (theta.transpose(1, 2) @ phi).softmax(dim=2)  # (N, HW, HW)
        attended = self.conv_mask((g @ attention.transpose(1, 2)).unflatten(2, (size, size)))  # (N, D, H, W)
        return (x + self.spatial_attention(x) * attended,)

    def spatial_attention(self, x: Tensor) -> Tensor:
        """Return the weights of the positions, (N, 1, H, W), which sum to 1 over each image.

        Args:
            x: Feature maps, (N, D, H, W).
        """
        return self.fc_spatial(x.flatten(1)).softmax(dim=1).unflatten(1, (1, self.spatial_size, self.spatial_size))

    def extra_repr(self) -> str:
        return f'spatial_size={self.spatial_size}'
