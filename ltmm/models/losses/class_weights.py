"""The argument ``class_weight`` of losses: one weight per class."""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution, ClassDistributionError
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError, MissingInputError, did_you_mean

__all__ = ['ClassWeights', 'class_weights', 'sample_weights', 'takes_no_class_weight', 'weighted_label']

ClassWeight = str | Sequence[float] | Mapping[str, float]


def class_weights(class_weight: ClassWeight, distribution: ClassDistribution, name: str) -> np.ndarray:
    """Return the weight of each class, (C,), float64.

    Args:
        class_weight: ``'auto'``: inverse to the number of training samples, with mean 1 over the classes that have any,
            and 0 for the others; weights in label order, (C,); or ``{class name: weight}``, in which the classes left
            out have weight 1.
        distribution: Of the training data.
        name: Name of the loss, for messages.
    """
    check_class_weight(class_weight, name)
    if isinstance(class_weight, str):
        return distribution.weights('inverse')
    if not isinstance(class_weight, Mapping):
        if len(class_weight) != len(distribution):
            raise ClassDistributionError(
                f'{name}: expected `class_weight` to have {len(distribution)} entries, the number of classes of the '
                f'training data, but got {len(class_weight)}.'
            )
        return np.array(class_weight, dtype=np.float64)
    if distribution.class_names is None:
        raise ClassDistributionError(
            f'{name}: expected class names in the training data for `class_weight` by name, but there are none. Give '
            'it as a list in label order.'
        )
    if unknown := [key for key in class_weight if key not in set(distribution.class_names)]:
        raise ClassDistributionError(
            f'{name}: expected `class_weight` to name classes of the training data, but {unknown[0]!r} is none.'
            f'{did_you_mean(str(unknown[0]), distribution.class_names)}'
        )
    return np.array([class_weight.get(key, 1.0) for key in distribution.class_names], dtype=np.float64)


def check_class_weight(class_weight: ClassWeight, name: str) -> None:
    """Raise an error if ``class_weight`` is invalid for any number of classes."""
    if isinstance(class_weight, Mapping):
        check(class_weight=(list(class_weight.values()), '>= 0'))
    elif not isinstance(class_weight, str) and np.ndim(class_weight) == 1:
        check(class_weight=(class_weight, '>= 0'))
    elif not isinstance(class_weight, str) or class_weight != 'auto':
        raise InputError(
            f"{name}: expected `class_weight` to be None, 'auto', a weight per class or {{class name: weight}}, but "
            f'got {class_weight!r}.'
        )


def sample_weights(label: Tensor, class_weight: Tensor) -> Tensor:
    """Return the weight of each sample, (N,).

    Args:
        label: Class indices, (N,), or soft labels, (N, C), which average the weights of their classes.
        class_weight: (C,).
    """
    return class_weight[label] if label.dim() == 1 else label.to(class_weight) @ class_weight


def weighted_label(label: Tensor, class_weight: Tensor) -> Tensor:
    r"""Return soft labels t in proportion to :math:`t_c w_c`, (N, C); as they are where all of these are 0.

    With a loss that is linear in the label, the loss of these labels times :func:`sample_weights` of t is
    :math:`\sum_c t_c w_c \ell(z, c)`.

    Args:
        label: t, (N, C).
        class_weight: w, (C,).
    """
    weighted = label.to(class_weight) * class_weight
    total = weighted.sum(1, keepdim=True)
    return torch.where(total > 0, weighted / total.clamp(min=torch.finfo(total.dtype).tiny), label)


def takes_no_class_weight(reason: str) -> Callable[[type], type]:
    """Decorate a loss without the argument ``class_weight``, so that its error says why or where to give it."""

    def decorate(cls: type) -> type:
        init = cls.__init__

        @wraps(init)
        def __init__(self: nn.Module, **kwargs: Any) -> None:
            if 'class_weight' in kwargs:
                raise InputTypeError(f'{type(self).__name__} takes no `class_weight`: {reason}')
            init(self, **kwargs)

        cls.__init__ = __init__
        return cls

    return decorate


class ClassWeights(UsesClassDistribution, nn.Module):
    """The weights of a loss, from its argument ``class_weight`` and the class distribution.

    Args:
        class_weight: See :func:`class_weights`.
        name: Name of the loss, for messages.
        background_hint: Sentence for one weight too many, in box heads.
    """

    def __init__(self, class_weight: ClassWeight, name: str, background_hint: str = '') -> None:
        super().__init__()
        check_class_weight(class_weight, name)
        self.class_weight, self.name, self.background_hint = class_weight, name, background_hint
        self.is_auto, self.by_name = isinstance(class_weight, str), isinstance(class_weight, Mapping)
        self.init_class_distribution()
        self.register_buffer('values', None, persistent=False)
        if not (self.is_auto or self.by_name):
            self.register_derived('values', np.array(class_weight, dtype=np.float64))

    def init_class_distribution(
        self, class_counts: Sequence[int] | dict | str | None = None, num_classes: int | None = None
    ) -> None:
        super().init_class_distribution(class_counts if self.is_auto else None, num_classes)

    def set_class_distribution(self, distribution: ClassDistribution) -> None:
        if not self.is_auto:
            class_weights(self.class_weight, distribution, self.name)  # checks names and length
        super().set_class_distribution(distribution)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        if self.is_auto or (self.by_name and distribution.class_names):  # checkpoints have no names
            self.register_derived('values', class_weights(self.class_weight, distribution, self.name))

    def expected_num_classes(self) -> int | None:
        return super().expected_num_classes() if self.is_auto or self.by_name else len(self.class_weight)

    def forward(self, like: Tensor, num_classes: int | None = None) -> Tensor:
        """Return the weights, (C,).

        Args:
            like: A tensor of the dtype and the device of the weights.
            num_classes: C, to be checked if given.
        """
        if self.values is None:
            raise MissingInputError(
                f'{self.name}: class_weight={self.class_weight!r} needs the class distribution of the training data, '
                "which custom_hooks = [dict(type='ltmm.ClassDistributionHook')] of ltmm's default_runtime.py gives. In "
                'a loop of your own give a list, such as ltmm.ClassDistribution([500, 60, 3]).weights("inverse").'
            )
        if num_classes not in (None, len(self.values)):
            raise InputError(
                f'{self.name}: expected `class_weight` to have {num_classes} entries, one per logit, but got '
                f'{len(self.values)}.'
            )
        return self.values.to(like)

    def extra_repr(self) -> str:
        return repr(self.class_weight)
