"""AREA: weights by the effective area that the features of each class span."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.prototypes import class_statistics
from ltmm.models.state.train_features import TrainFeatures, UsesTrainFeatures
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import MissingInputError

from ..class_weights import takes_no_class_weight
from .deferred_reweighting import DeferredReweighting

__all__ = ['AREAReweighting', 'area_weights', 'class_prototypes', 'effective_area']

CHUNK = 2**14  # rows whose directions are kept at a time
MIN_SQUARED_LENGTH = 1e-12  # of a mean direction


def class_prototypes(features: Tensor, label: Tensor, counts: Tensor) -> Tensor:
    """Compute the mean feature of each class, (C, D); 0 for classes without images.

    Args:
        features: (N, D).
        label: (N,).
        counts: Training images per class, (C,), by which the sums are divided.
    """
    seen, means, _ = class_statistics(features, label, len(counts))
    return means * (seen / counts.clamp(min=1)).unsqueeze(1)


def effective_area(features: Tensor, label: Tensor, prototypes: Tensor, batch: Tensor) -> Tensor:
    r"""Compute the effective area of each class, summed over mini-batches, (C,); 0 for classes without rows.

    Args:
        features: (N, D).
        label: (N,).
        prototypes: (C, D).
        batch: Mini-batch of each row, (N,).
    """
    num_classes = len(prototypes)
    direction = F.normalize(features - prototypes[label], dim=1)  # (N, D), 0 at the prototype
    group, member = torch.unique(batch * num_classes + label, return_inverse=True)  # (G,), (N,): a class in a batch
    size = torch.bincount(member, minlength=len(group))  # (G,)
    mean = direction.new_zeros(len(group), direction.size(1)).index_add_(0, member, direction) / size.unsqueeze(1)
    area = 1 / mean.square().sum(1).clamp(min=MIN_SQUARED_LENGTH)  # (G,)
    area = torch.where(size == 1, 1.0, area)
    return area.new_zeros(num_classes).index_add_(0, group % num_classes, area)


def area_weights(area: Tensor) -> Tensor:
    """Compute weights inverse to the areas, with mean 1 over all classes, (C,); 0 for classes of area 0.

    Args:
        area: (C,).
    """
    weight = torch.where(area > 0, 1 / area, 0.0)
    return weight * len(weight) / weight.sum()


@MODELS.register_module()
@takes_no_class_weight('give it to the `loss` inside.')
class AREAReweighting(UsesTrainFeatures, DeferredReweighting):
    r"""Re-weights a loss, from one epoch on, for the classes whose features span a small effective area.

    Unlike counts, the area tells redundant images from diverse ones: m images whose features lie in the same direction
    from the class prototype :math:`\mu_c` count as one, images in independent directions as m. Before every epoch from
    ``start_epoch`` on,

    .. math:: w_c \propto 1 / A_c, \qquad A_c = \sum_B \Big\|\frac{1}{|B_c|} \sum_{i \in B_c} u_i\Big\|^{-2},
        \qquad u_i = \frac{f_i - \mu_c}{\|f_i - \mu_c\|}

    over mini-batches B of the shuffled training set, with :math:`B_c` the images of class c in it. A class with one
    image in a batch has area 1 there, a class without images has weight 0. The squared length is at least 1e-12: two
    images have opposite directions from their mean, so with ``scope='dataset'`` a class of two has almost no weight.

    [0] Chen et al., AREA: Adaptive Reweighting via Effective Area for Long-Tailed Classification, ICCV 2023.
    [1] github.com/xiaohua-chen/AREA @1c47197. Reproduces [1] to 1e-6 (tests/conformance, ``area`` and
        ``trajectory_area``).

    Args:
        loss: Any loss of ltmm or mmpretrain that takes a weight per sample; cross entropy in [1].
        start_epoch: First epoch with weights, counted from 0; 160 of 200 in [1].
        scope: ``'batch'`` sums the areas of mini-batches as [1] does, ``'dataset'`` takes all images at once as [0].
        batch_size: Images of a mini-batch, over all ranks; [1] takes that of its training.
        augmented: Compute prototypes and areas from two passes with the transforms of the training, as [1] does. False:
            from one pass with those of the test.
        normalize: See :class:`ReweightedLoss`; ``'weight_sum'`` in [1].
        class_counts: Training images per class. Default: taken from the training data.
        num_classes: C, to check the counts against.
        per_rank: See :class:`ReweightedLoss`.

    Attributes:
        class_weight: w, (C,), float64; empty before the first features.
    """

    def __init__(
        self,
        *,
        loss: nn.Module | dict,
        start_epoch: int,
        scope: str = 'batch',
        batch_size: int = 64,
        augmented: bool = True,
        normalize: str = 'weight_sum',
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
        per_rank: bool = False,
    ) -> None:
        check(scope=(scope, ('batch', 'dataset')), batch_size=(batch_size, 'int >= 1'))
        super().__init__(
            loss=loss,
            start_epoch=start_epoch,
            kind='area',
            normalize=normalize,
            class_counts=class_counts,
            num_classes=num_classes,
            per_rank=per_rank,
        )
        self.scope, self.batch_size = scope, batch_size
        self.num_augmented_passes = 2 if augmented else 0
        self.register_buffer('class_weight', torch.zeros(0, dtype=torch.float64))

    def needs_train_features(self, epoch: int) -> bool:
        return epoch >= self.start_epoch

    @torch.no_grad()
    def on_train_features(self, outputs: TrainFeatures, others: TrainFeatures | None = None) -> None:
        """Compute the weights of the epoch.

        Args:
            outputs: For the prototypes.
            others: For the areas; by default the same.
        """
        counts = torch.tensor(self.get_class_distribution().instance_counts)
        prototypes = class_prototypes(outputs.features, outputs.label, counts)
        others = outputs if others is None else others
        generator = torch.Generator().manual_seed(others.seed + self.epoch)  # the same on all ranks
        order = torch.randperm(len(others.label), generator=generator)
        size = self.batch_size if self.scope == 'batch' else len(order)
        area = sum(
            effective_area(others.features[rows], others.label[rows], prototypes, torch.arange(len(rows)) // size)
            for rows in order.split(max(CHUNK // size, 1) * size)
        )
        self.class_weight = area_weights(area).to(self.class_weight.device)

    def check_logits(self, cls_score: Tensor) -> None:
        super().check_logits(cls_score)
        if not len(self.class_weight):
            raise MissingInputError(
                f"{type(self).__name__} needs the features of the training set. Add dict(type='ltmm.TrainFeaturesHook')"
                " to custom_hooks, as ltmm's default_runtime.py does, or call on_train_features(outputs) before every "
                'epoch.'
            )

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Do nothing: the weights come with the features."""

    def _weights_of(self, distribution: ClassDistribution) -> None:
        """Do nothing, see above."""

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        saved = state_dict.get(f'{prefix}class_weight')
        if saved is not None:
            self.class_weight = self.class_weight.new_zeros(saved.shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return f'scope={self.scope!r}, batch_size={self.batch_size}, {super().extra_repr()}'
