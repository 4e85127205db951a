"""Nearest-class-mean classifier."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import MissingInputError

__all__ = ['NearestMean', 'class_means', 'nearest_mean_logits', 'transform_features']

TRANSFORMS = ('un', 'l2n', 'cl2n')
SIMILARITIES = ('l2', 'dot')
CHUNK = 8192


def transform_features(features: Tensor, transform: str, mean: Tensor | None) -> Tensor:
    """Transform features before they are averaged and compared, (N, D).

    Args:
        features: (N, D).
        transform: ``'un'`` for none, ``'l2n'`` for L2 normalization, ``'cl2n'`` for centering and L2 normalization.
        mean: Mean of all training features, (D,); used by ``'cl2n'`` only.
    """
    if transform == 'un':
        return features
    return F.normalize(features - mean if transform == 'cl2n' else features, dim=1)


def class_means(features: Tensor, label: Tensor, num_classes: int, transform: str, mean: Tensor | None) -> Tensor:
    """Average the transformed features of each class over all ranks, float64, (C, D); 0 for an absent class.

    Args:
        features: Those of this rank, (N, D).
        label: (N,).
        num_classes: C.
        transform: See :func:`transform_features`.
        mean: See :func:`transform_features`.
    """
    total = features.new_zeros(num_classes, features.size(1), dtype=torch.float64)
    for chunk, classes in zip(features.split(CHUNK), label.split(CHUNK)):  # no second copy of all features
        total.index_add_(0, classes, transform_features(chunk, transform, mean).double())
    count = torch.bincount(label, minlength=num_classes).double()
    all_reduce(total)
    all_reduce(count)
    return total / count.clamp(min=1)[:, None]


def nearest_mean_logits(features: Tensor, means: Tensor, similarity: str) -> Tensor:
    r"""Compute :math:`-\lVert q - m_c \rVert^2` ('l2') or :math:`q^\top m_c / D` ('dot'), (N, C).

    Args:
        features: q, (N, D).
        means: m, (C, D).
        similarity: ``'l2'`` or ``'dot'``.
    """
    dot = features @ means.T  # (N, C)
    if similarity == 'dot':
        return dot / features.size(1)
    return 2 * dot - features.square().sum(1, keepdim=True) - means.square().sum(1)


@MODELS.register_module()
class NearestMean(nn.Module):
    r"""Nearest-class-mean classifier, which does not depend on the class sizes.

    :meth:`fit` computes the class means from the features of the training set; they are saved in the checkpoint.
    Classes without training samples are never predicted.

    [0] Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020, arXiv 1910.09217.
    [1] github.com/facebookresearch/classifier-balancing @f162ade, KNNClassifier.py. Its 'cos' is a dot product divided
        by D; here it is called 'dot'. This implementation reproduces [1] (tests/conformance,
        ``decoupling_classifiers``).

    Args:
        in_features: D.
        out_features: C.
        transform: See :func:`transform_features`.
        similarity: See :func:`nearest_mean_logits`.
    """

    def __init__(self, in_features: int, out_features: int, transform: str = 'cl2n', similarity: str = 'l2') -> None:
        super().__init__()
        check(transform=(transform, TRANSFORMS), similarity=(similarity, SIMILARITIES))
        self.in_features, self.out_features = in_features, out_features
        self.transform, self.similarity = transform, similarity
        self.register_buffer('mean', torch.zeros(in_features))
        self.register_buffer('class_means', torch.zeros(out_features, in_features))
        self.register_buffer('occurs', torch.zeros(out_features, dtype=torch.bool))

    def fit(self, features: Tensor, label: Tensor) -> None:
        """Compute the class means.

        Args:
            features: Training features of this rank, (N, D).
            label: Class indices, (N,).
        """
        self.mean.copy_(class_means(features, torch.zeros_like(label), 1, 'un', None)[0])
        mean = self.mean.to(features)
        self.class_means.copy_(class_means(features, label, self.out_features, self.transform, mean))
        count = torch.bincount(label, minlength=self.out_features)
        all_reduce(count)
        self.occurs.copy_(count > 0)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, C) of features (N, D)."""
        if not self.occurs.any():
            raise MissingInputError(
                'NearestMean has no class means yet. Load a checkpoint written by '
                'python tools/post_process.py CONFIG CHECKPOINT --method ncm.'
            )
        with torch.autocast(x.device.type, enabled=False):
            q = transform_features(x.to(self.class_means), self.transform, self.mean)
            logits = nearest_mean_logits(q, self.class_means, self.similarity)
        return logits.masked_fill(~self.occurs, float('-inf'))

    def extra_repr(self) -> str:
        return (
            f'in_features={self.in_features}, out_features={self.out_features}, transform={self.transform!r}, '
            f'similarity={self.similarity!r}'
        )
