"""Additive attention over a few vectors per image."""

import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.registry import MODELS

__all__ = ['AdditiveAttention', 'additive_attention']


def additive_attention(
    query: Tensor, keys: Tensor, query_weight: Tensor, key_weight: Tensor, score_weight: Tensor, dropout: float
) -> Tensor:
    r"""Average the keys with the weights softmax(:math:`w^\top \tanh(W_q q + W_k k)`), (N, D).

    Args:
        query: q, (N, D).
        keys: k, also the values, (N, M, D).
        query_weight: W_q, (H, D).
        key_weight: W_k, (H, D).
        score_weight: w, (1, H).
        dropout: Probability of dropping a key.
    """
    hidden = F.linear(query, query_weight).unsqueeze(1) + F.linear(keys, key_weight)  # (N, M, H)
    weight = F.linear(hidden.tanh(), score_weight).softmax(dim=1)  # (N, M, 1)
    return (F.dropout(weight, dropout) * keys).sum(dim=1)


@MODELS.register_module()
class AdditiveAttention(nn.Module):
    r"""Attention of one feature vector (the query) over several others, such as those of other branches.

    .. math:: \sum_m \mathrm{softmax}_m\bigl(w^\top \tanh(W_q q + W_k k_m)\bigr) \, k_m

    [0] Bahdanau et al., Neural Machine Translation by Jointly Learning to Align and Translate, ICLR 2015.
    [1] github.com/wannature/COMIC @1de14e5, AdditivetionAttention.py.

    Args:
        in_features: D.
        hidden_features: H.
        dropout: Probability of dropping a key in training.
    """

    def __init__(self, in_features: int, hidden_features: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.query = nn.Linear(in_features, hidden_features, bias=False)
        self.key = nn.Linear(in_features, hidden_features, bias=False)
        self.score = nn.Linear(hidden_features, 1, bias=False)
        self.dropout = dropout

    def forward(self, query: Tensor, keys: Tensor) -> Tensor:
        """Return the attended keys, (N, D).

        Args:
            query: (N, D).
            keys: (N, M, D).
        """
        dropout = self.dropout if self.training else 0.0
        return additive_attention(query, keys, self.query.weight, self.key.weight, self.score.weight, dropout)
