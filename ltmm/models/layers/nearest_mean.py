"""Nearest-class-mean classifier."""

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from torch import Tensor, nn

from ltmm.registry import MODELS

__all__ = ['NearestMean', 'class_means', 'nearest_mean_logits', 'transform_features']

TRANSFORMS = ('un', 'l2n', 'cl2n')
SIMILARITIES = ('l2', 'dot')
CHUNK = 8192


def transform_features(features: Tensor, transform: str, mean: Tensor | None) -> Tensor:
    """Features as they are compared, (N, D).

    Args:
        features: (N, D).
        transform: ``'un'`` as they are, ``'l2n'`` with length 1, ``'cl2n'`` centred, then with length 1.
        mean: of all training features, (D,); used by ``'cl2n'`` alone.
    """
    if transform == 'un':
        return features
    return F.normalize(features - mean if transform == 'cl2n' else features, dim=1)


def class_means(features: Tensor, label: Tensor, num_classes: int, transform: str, mean: Tensor | None) -> Tensor:
    """Mean of the transformed features of each class over all processes, float64, (C, D); 0 for an absent class.

    Args:
        features: (N, D), those of this process.
        label: (N,).
        num_classes: C.
        transform: see :func:`transform_features`.
        mean: see :func:`transform_features`.
    """
    total = features.new_zeros(num_classes, features.size(1), dtype=torch.float64)
    for chunk, classes in zip(features.split(CHUNK), label.split(CHUNK)):  # no second copy of all features
        total.index_add_(0, classes, transform_features(chunk, transform, mean).double())
    count = torch.bincount(label, minlength=num_classes).double()
    all_reduce(total)
    all_reduce(count)
    return total / count.clamp(min=1)[:, None]


def nearest_mean_logits(features: Tensor, means: Tensor, similarity: str) -> Tensor:
    r"""How near each class is, (N, C): :math:`-\lVert q - m_c \rVert^2` ('l2') or :math:`q^\top m_c / D` ('dot').

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
    r"""Classifies by the nearest mean of the training features of a class, so that a class's size has no say.

    Nothing is learnt: :meth:`fit` takes the features of the training set. The means are buffers, so that a checkpoint
    has them. A class without a training sample is never predicted.

    [0] Kang et al., Decoupling Representation and Classifier for Long-Tailed Recognition, ICLR 2020, arXiv 1910.09217.
    [1] github.com/facebookresearch/classifier-balancing @f162ade, KNNClassifier.py. Its 'cos' is a dot product divided
        by D, no cosine; here it is called 'dot'. Equal to [1] on its own numbers (tests/conformance,
        ``decoupling_classifiers``).

    Args:
        in_features: D.
        out_features: C.
        transform: of the features, before they are averaged and compared: ``'un'`` none, ``'l2n'`` to length 1,
            ``'cl2n'`` centred at the mean of the training features, then to length 1.
        similarity: ``'l2'`` negative squared distance, or ``'dot'``.

    Raises:
        ValueError: an unknown transform or similarity.
        RuntimeError: used before :meth:`fit` or a checkpoint has given it means.
    """

    def __init__(self, in_features: int, out_features: int, transform: str = 'cl2n', similarity: str = 'l2') -> None:
        super().__init__()
        for name, value, valid in (('transform', transform, TRANSFORMS), ('similarity', similarity, SIMILARITIES)):
            if value not in valid:
                raise ValueError(f'Expected `{name}` to be one of {list(valid)}, but got {value!r}.')
        self.in_features, self.out_features = in_features, out_features
        self.transform, self.similarity = transform, similarity
        self.register_buffer('mean', torch.zeros(in_features))
        self.register_buffer('class_means', torch.zeros(out_features, in_features))
        self.register_buffer('occurs', torch.zeros(out_features, dtype=torch.bool))

    def fit(self, features: Tensor, label: Tensor) -> None:
        """Take the means of the training data; with several processes each gives its own part.

        Args:
            features: (N, D).
            label: (N,).
        """
        self.mean.copy_(class_means(features, torch.zeros_like(label), 1, 'un', None)[0])
        mean = self.mean.to(features)
        self.class_means.copy_(class_means(features, label, self.out_features, self.transform, mean))
        count = torch.bincount(label, minlength=self.out_features)
        all_reduce(count)
        self.occurs.copy_(count > 0)

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C) of features (N, D)."""
        if not self.occurs.any():
            raise RuntimeError(
                'NearestMean has no class means yet. They are made from the training data by '
                'python tools/post_process.py CONFIG CHECKPOINT --method ncm, and come with the checkpoint it writes.'
            )
        with torch.autocast(x.device.type, enabled=False):
            q = transform_features(x.to(self.class_means), self.transform, self.mean)
            logits = nearest_mean_logits(q, self.class_means, self.similarity)
        return logits.masked_fill(~self.occurs, float('-inf'))

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return (
            f'in_features={self.in_features}, out_features={self.out_features}, transform={self.transform!r}, '
            f'similarity={self.similarity!r}'
        )
