import torch
from torch import nn

from ltmm.models.necks import ResidualBlock


def test_adds_a_block_to_the_last_maps():
    neck = ResidualBlock(8).eval()
    neck.init_weights()
    maps = torch.randn(2, 8, 3, 3)
    (out,) = neck((torch.zeros(2, 4, 6, 6), maps))
    convs = [module for module in neck.modules() if isinstance(module, nn.Conv2d)]
    assert [(conv.in_channels, conv.out_channels, conv.kernel_size) for conv in convs] == [
        (8, 2, (1, 1)),
        (2, 2, (3, 3)),
        (2, 8, (1, 1)),
    ]
    x = maps
    for conv in convs:  # new batch norm changes values by its eps only
        x = conv(x) if conv is convs[-1] else conv(x).relu()
    torch.testing.assert_close(out, (maps + x).relu(), rtol=1e-4, atol=1e-4)
