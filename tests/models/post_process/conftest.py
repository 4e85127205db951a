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


class Split:
    """Outputs of a split, as corrections see them."""

    def __init__(self, features, logits, label, head=None):
        self.features, self.logits, self.label, self.head = features, logits, label, head
        self.num_classes = 4

    def class_means(self):
        return torch.stack([self._of(c).mean(0) if len(self._of(c)) else torch.zeros(6) for c in range(4)]).double()

    def class_variances(self):
        parts = [self._of(c) for c in range(4)]
        return torch.stack([p.var(0, correction=0) if len(p) else torch.zeros(6) for p in parts]).double()

    def _of(self, label):
        return self.features[self.label == label].double()


@pytest.fixture
def make_split(head):
    """A function from counts per class, of which some may be 0, to a split of overconfident logits."""

    def make(counts, seed=0):
        generator = torch.Generator().manual_seed(seed)
        label = torch.repeat_interleave(torch.arange(4), torch.tensor(counts))
        features = torch.randn(len(label), 6, generator=generator) + label[:, None] / 2
        logits = 2 * torch.randn(len(label), 4, generator=generator)
        logits[torch.arange(len(label)), label] += 2
        return Split(features, logits, label, head)

    return make
