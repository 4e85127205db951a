import pytest
import torch
from mmpretrain.models.heads import LinearClsHead


@pytest.fixture
def head():
    """mmpretrain's linear head for 6 features and 4 classes; the weight vectors have different lengths."""
    generator = torch.Generator().manual_seed(0)
    head = LinearClsHead(4, 6).eval()
    lengths = torch.tensor([4.0, 2.0, 1.0, 0.5])[:, None]
    head.fc.weight.data = torch.randn(4, 6, generator=generator) * lengths
    head.fc.bias.data = torch.randn(4, generator=generator)
    return head


@pytest.fixture
def features():
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
