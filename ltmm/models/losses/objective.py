"""Objectives: losses that need more than logits and labels."""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError

from .base import at_least_float32

__all__ = ['USE_VIEWS', 'AuxLoss', 'LossInputs', 'Objective', 'merge_terms']

USE_VIEWS = (
    "use dict(type='MultiView', num_views=[...]) in the pipeline and "
    "data_preprocessor=dict(type='ltmm.MultiViewDataPreprocessor')."
)


@dataclass(frozen=True, eq=False)
class LossInputs:
    """Everything a head offers to an :class:`Objective`; None where the head or the data do not have it.

    Rows of V views of N images are view-major: all images in the first view, then all in the second.

    Attributes:
        label: Class indices, (N,), or soft labels, (N, C). In box heads label C is background; in pre-training without
            labels all are -1.
        cls_score: Logits, (V N, C); those of several experts aggregated.
        features: Input of the classifier, (V N, D).
        sample_idx: Index of each image in the training set, (N,).
        hard_label: Class indices of the images themselves, (N,), where ``label`` is of mixed images.
        expert_logits: Logits of each expert, (E, V N, C).
        router_logits: Scores after each expert but the last, (E - 1, V N): whether an image needs a further one.
        teacher_logits: Logits of a frozen teacher, (V N, C).
        key_features: Features of another view of each image by a momentum copy of the network, (N, D).
        unlabeled_score: Logits of W views of M unlabeled images, the weak view first, (W, M, C).
        unlabeled_features: Their features, (W, M, D).
        unlabeled_idx: Index of each unlabeled image in the training set, (M,).
        also_labeled: Whether each unlabeled image is one of the labeled images of the training set, (M,).
        classifier: The last layer, for losses that read its weights.
        loss: Value of the main loss of the head, for auxiliary losses.
        weight: Weight of each proposal, (N,), in box heads; of each image, where a classifier weights the main loss.
        avg_factor: Number of proposals with a weight, in box heads.
        object_idx: Object of the batch that each proposal is matched to, (N,), in box heads; -1 for background.
    """

    label: Tensor
    cls_score: Tensor | None = None
    features: Tensor | None = None
    sample_idx: Tensor | None = None
    hard_label: Tensor | None = None
    expert_logits: Tensor | None = None
    router_logits: Tensor | None = None
    teacher_logits: Tensor | None = None
    key_features: Tensor | None = None
    unlabeled_score: Tensor | None = None
    unlabeled_features: Tensor | None = None
    unlabeled_idx: Tensor | None = None
    also_labeled: Tensor | None = None
    classifier: nn.Module | None = None
    loss: Tensor | None = None
    weight: Tensor | None = None
    avg_factor: float | None = None
    object_idx: Tensor | None = None

    @property
    def num_views(self) -> int:
        """V, read from the batch."""
        rows = next(
            len(rows)
            for rows in (self.features, self.cls_score, None if self.expert_logits is None else self.expert_logits[0])
            if rows is not None
        )
        return rows // max(len(self.label), 1)

    def per_view(self, rows: Tensor, num_views: int | None = None) -> Tensor:
        """Repeat rows of images, (N, ...), such as labels, for the first ``num_views`` views, by default all V."""
        return rows.repeat(self.num_views if num_views is None else num_views, *[1] * (rows.dim() - 1))

    def at_least_float32(self) -> 'LossInputs':
        """Cast all float16 and bfloat16 tensors to float32."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{k: at_least_float32(v) for k, v in values.items() if isinstance(v, Tensor)})


class Objective(nn.Module):
    """Base class of losses that need features, views, experts, a teacher or the classifier.

    A subclass writes :meth:`terms` and names in :attr:`requires` the fields of :class:`LossInputs` that it reads. On a
    batch without rows, which box heads can have, all terms are 0 (:attr:`zero_without_rows`).

    Attributes:
        requires: Fields that must not be None.
        zero_without_rows: Whether the terms of a batch without rows are set to 0; False where rows of a memory remain.
        needs_labels: Whether the labels must be known; otherwise they may be -1, as in pre-training without labels.
        balances_classes: See :class:`~ltmm.models.losses.base.LogitLoss`.
        reweights: See :class:`~ltmm.models.losses.base.LogitLoss`.
    """

    requires: tuple[str, ...] = ()
    zero_without_rows = True
    needs_labels = True
    balances_classes = False
    reweights = False

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Return the terms of the loss by name; MMEngine adds up those with 'loss' in their name."""
        raise NotImplementedError(f'{type(self).__name__} must define terms(inputs).')

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Compute the terms in float32 or float64."""
        for name in self.requires:
            if getattr(inputs, name) is None:
                raise InputError(f'{type(self).__name__} needs `{name}`, which this head, model or pipeline lacks.')
        self._check(inputs)
        with torch.autocast(inputs.label.device.type, enabled=False):
            terms = self.terms(inputs.at_least_float32())
        if not isinstance(terms, dict):
            name = type(self).__name__
            raise InputTypeError(f'{name}.terms: expected dict(loss_name=tensor), but got {type(terms).__name__}.')
        if len(inputs.label) or not self.zero_without_rows:
            return terms
        used = (inputs.features, inputs.cls_score, inputs.expert_logits, *self.parameters())
        zero = 0 * sum(tensor.sum() for tensor in used if tensor is not None)  # keeps all of them in the graph
        return dict.fromkeys(terms, zero)

    def _check(self, inputs: LossInputs) -> None:
        """Check the inputs; nothing by default."""

    def init_weights(self) -> None:
        """Start own linear layers as PyTorch does, after the head has drawn them as it draws its classifier.

        From small weights, unit vectors would have large gradients.
        """
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                layer.reset_parameters()


class AuxLoss(nn.Module):
    """An objective beside the main loss of a head, with a weight and a name.

    Args:
        loss: Config of an :class:`Objective`; ``weight`` multiplies its terms, ``name`` is put before their names.
    """

    def __init__(self, loss: dict) -> None:
        super().__init__()
        if not isinstance(loss, dict) or 'type' not in loss:
            raise InputTypeError(f'Expected `aux_losses` to be a list of dict(type=...), but it has {loss!r}.')
        loss = dict(loss)
        self.weight, self.name = loss.pop('weight', 1.0), loss.pop('name', None)
        check(weight=(self.weight, 'finite'))
        self.objective = MODELS.build(loss)
        if not isinstance(self.objective, Objective):
            raise InputTypeError(f'Expected `aux_losses` to hold objectives, but got {type(self.objective).__name__}.')

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Compute the weighted terms."""
        prefix = '' if self.name is None else f'{self.name}_'
        return {f'{prefix}{name}': self.weight * term for name, term in self.objective(inputs).items()}

    def extra_repr(self) -> str:
        return f'weight={self.weight}, name={self.name!r}'


def merge_terms(main: dict[str, Tensor], aux_losses: Iterable[AuxLoss], inputs: LossInputs) -> dict[str, Tensor]:
    """Add the terms of the auxiliary losses to those of the main loss.

    Args:
        main: Terms of the main loss.
        aux_losses: The auxiliary losses.
        inputs: Their inputs; ``loss`` is filled in here.
    """
    terms = dict(main)
    inputs = replace(inputs, loss=sum(value for name, value in main.items() if 'loss' in name))
    for aux_loss in aux_losses:
        new = aux_loss(inputs)
        if shared := sorted(new.keys() & terms.keys()):
            raise InputError(f'Two losses of a head return {shared}: give one in `aux_losses` a `name`.')
        terms |= new
    return terms
