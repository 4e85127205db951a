"""Router that decides after each expert whether a sample needs the next one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.utils.checks import check

__all__ = ['ExpertRouter']


class ExpertRouter(nn.Module):
    """Scores whether a sample needs a further expert, from the features of the last one and the largest mean logits.

    Each expert but the last has a projection of its own; the last layer is shared.

    Args:
        in_channels: D, width of the features of each expert.
        num_classes: C.
        num_experts: E.
        hidden_channels: Width of the projected features.
        topk: Number of largest logits, at most C of them.
    """

    def __init__(
        self, in_channels: int, num_classes: int, num_experts: int, hidden_channels: int = 16, topk: int = 5
    ) -> None:
        super().__init__()
        check(num_experts=(num_experts, 'int >= 2'), hidden_channels=(hidden_channels, 'int >= 1'))
        check(topk=(topk, 'int >= 1'))
        self.topk = min(topk, num_classes)
        self.projections = nn.ModuleList(nn.Linear(in_channels, hidden_channels) for _ in range(num_experts - 1))
        self.fc = nn.Linear(self.topk + hidden_channels, 1)

    def forward(self, expert: int, features: Tensor, logits: Tensor) -> Tensor:
        """Return scores, (N,); a sample goes on where they are large.

        Args:
            expert: Index of the last expert that has seen the samples.
            features: Its features, (N, D).
            logits: Mean logits of the experts so far, (N, C).
        """
        hidden = F.relu(self.projections[expert](F.normalize(features, dim=1)))
        return self.fc(torch.cat([logits.topk(self.topk, dim=1).values, hidden], dim=1)).squeeze(1)

    def extra_repr(self) -> str:
        return f'topk={self.topk}'
