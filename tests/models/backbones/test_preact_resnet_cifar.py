import pytest
import torch
import torch.nn.functional as F

from ltmm.registry import MODELS


def build(**options):
    torch.manual_seed(0)
    return MODELS.build(dict(type='ltmm.PreActResNetCIFAR', **options))


def test_number_of_parameters():
    assert sum(p.numel() for p in build().parameters()) == 11_166_144  # 11.17 M without the classifier


def test_blocks():
    model = build(num_blocks=(1, 2), channels=(4, 6)).double().eval()
    x = torch.randn(3, 3, 8, 8).double()

    def block(part, x):
        out = F.relu(part.bn1(x))
        shortcut = part.shortcut[0](out) if len(list(part.shortcut.children())) else out  # the activated input
        return part.conv2(F.relu(part.bn2(part.conv1(out)))) + shortcut

    expected = F.relu(model.bn1(model.conv1(x)))
    for part in (*model.layer1, *model.layer2):
        expected = block(part, expected)
    assert expected.shape == (3, 6, 4, 4)
    (features,) = model(x)
    torch.testing.assert_close(features, expected.mean((2, 3)))  # neither batch norm nor ReLU after the last block
    assert (expected < 0).any()


def test_every_parameter_learns():
    model = build(num_blocks=(1, 1), channels=(4, 6))
    model(torch.randn(4, 3, 8, 8))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_invalid_options():
    with pytest.raises(ValueError, match='`num_blocks`'):
        build(num_blocks=(0, 1), channels=(4, 6))
