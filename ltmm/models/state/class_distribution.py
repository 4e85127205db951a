"""The class distribution inside a model, saved in its checkpoints."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution, ClassDistributionError, missing_distribution_error
from ltmm.utils.checks import check
from ltmm.utils.class_counts import is_by_name, missing_names_error, read_counts
from ltmm.utils.errors import InputError

__all__ = [
    'ClassDistributionBuffer',
    'UsesClassDistribution',
    'check_head_classes',
    'head_class_mask',
    'move_to_meta',
    'move_to_state_dict',
    'set_class_distribution',
    'warn_without_num_images',
]

TOP_LEVEL = 'class_distribution.'  # of a model without a module that takes the distribution


class ClassDistributionBuffer(nn.Module):
    """The class distribution as buffers; empty until it is set or loaded from a state dict.

    Args:
        persistent: Save it with the model.
    """

    def __init__(self, persistent: bool = True) -> None:
        super().__init__()
        self.persistent = persistent
        self.register_buffer('instance_counts', torch.zeros(0, dtype=torch.int64), persistent)
        self.register_buffer('image_counts', torch.zeros(0, dtype=torch.int64), persistent)
        self.register_buffer('num_images', torch.zeros((), dtype=torch.int64), persistent)
        self._value: ClassDistribution | None = None
        self.pinned = False  # given by `class_counts`: not replaced by a checkpoint

    def set(self, distribution: ClassDistribution) -> None:
        """Set the distribution."""
        device = self.num_images.device
        self.instance_counts = torch.tensor(distribution.instance_counts, device=device)
        self.image_counts = torch.tensor(distribution.image_counts, device=device)
        self.num_images = torch.tensor(distribution.num_images, device=device)
        self._value = distribution

    def get(self) -> ClassDistribution | None:
        """Return the distribution, or None."""
        if self._value is None and len(self.instance_counts):
            self._value = ClassDistribution(
                self.instance_counts.cpu().numpy(), self.image_counts.cpu().numpy(), int(self.num_images)
            )
        return self._value

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        if self.pinned:
            state_dict.update(self.state_dict(prefix=prefix))
        for name in ('instance_counts', 'image_counts'):
            value = state_dict.get(prefix + name)
            if value is not None:
                setattr(self, name, torch.zeros_like(value, device=self.num_images.device))
        self._value = None
        super()._load_from_state_dict(state_dict, prefix, *args)

    def extra_repr(self) -> str:
        return repr(self.get())


def check_head_classes(head_classes: str | int | Sequence[int]) -> None:
    """Check an argument that :func:`head_class_mask` reads."""
    if isinstance(head_classes, str):
        check(head_classes=(head_classes, ('many',)))
    else:
        check(head_classes=(head_classes, 'int >= 1' if np.ndim(head_classes) == 0 else 'int >= 0'))


def head_class_mask(distribution: ClassDistribution, head_classes: str | int | Sequence[int]) -> np.ndarray:
    """Return which classes are frequent and have training images, (C,); at least one.

    Args:
        distribution: The class distribution.
        head_classes: ``'many'``, the many-shot ones, with more than 100 training images; a number k, the k most
            frequent; or a list of class indices.
    """
    if isinstance(head_classes, str):
        mask = distribution.shots().many
        if not mask.any():
            raise InputError(
                'Expected a class with more than 100 training images, but there is none. Give `head_classes`.'
            )
        return mask
    if np.max(head_classes) >= len(distribution) + (np.ndim(head_classes) == 0):
        raise InputError(f'Expected `head_classes` of {len(distribution)} classes, but got {head_classes}.')
    ranked = np.argsort(-distribution.image_counts, kind='stable')
    mask = np.zeros(len(distribution), dtype=bool)
    mask[ranked[:head_classes] if np.ndim(head_classes) == 0 else list(head_classes)] = True
    mask &= distribution.image_counts > 0
    if not mask.any():
        raise InputError(f'Expected `head_classes` with training images, but got {head_classes}.')
    return mask


def warn_without_num_images(user: 'UsesClassDistribution', counts: Any) -> None:
    """Warn of counts without the number of images, if a module depends on it.

    Args:
        user: The module.
        counts: What :func:`ltmm.utils.class_counts.read_counts` returns.
    """
    is_given = isinstance(counts, ClassDistribution) or (
        isinstance(counts, Mapping) and not is_by_name(counts) and counts.get('num_images') is not None
    )
    if user.needs_num_images and not is_given:
        warnings.warn(
            f'{type(user).__name__} needs the share of the images that hold each class, but `class_counts` does not '
            'say how many images there are: the sum of the counts is taken, which is correct only if each image holds '
            'one class. Give the dictionary of ClassDistribution.to_dict(), or its json file.',
            stacklevel=2,
        )


def move_to_meta(checkpoint: dict) -> None:
    """Keep the distribution of the model itself in ``meta``: elsewhere, a model without the hook takes the weights."""
    state = checkpoint['state_dict']
    own = {name.removeprefix(TOP_LEVEL): state.pop(name) for name in list(state) if name.startswith(TOP_LEVEL)}
    if own:
        checkpoint['meta']['class_distribution'] = own


def move_to_state_dict(checkpoint: dict, model: nn.Module) -> None:
    """Undo :func:`move_to_meta` for a model that has its distribution itself."""
    own = (checkpoint.get('meta') or {}).get('class_distribution')
    if own is not None and isinstance(getattr(model, 'class_distribution', None), ClassDistributionBuffer):
        checkpoint['state_dict'].update({TOP_LEVEL + name: value for name, value in own.items()})


class UsesClassDistribution:
    """Mixin for modules that depend on the class distribution.

    The distribution comes from ``class_counts`` in the config, from :class:`ltmm.engine.ClassDistributionHook` before
    training, or from a checkpoint. Each time :meth:`on_class_distribution` is called, in which a subclass derives what
    it needs.

    Attributes:
        needs_co_occurrence: Whether the hook counts the co-occurrence of the classes too.
        needs_num_images: Whether the share of the images that hold a class matters, not only the counts.
        background_hint: Sentence for one count too many, in box heads.
    """

    needs_co_occurrence = False
    needs_num_images = False
    background_hint = ''

    def init_class_distribution(
        self,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
        persistent: bool = True,
    ) -> None:
        """Call this in ``__init__``, after ``nn.Module.__init__``.

        Args:
            class_counts: As in :meth:`ltmm.ClassDistribution.build`; None for those of hook or checkpoint. Counts with
                class names are put in label order once the hook sets the names; ``{class name: count}`` is used only
                then.
            num_classes: C, to be checked if given.
            persistent: Save the distribution with the model.
        """
        self.class_distribution = ClassDistributionBuffer(persistent)
        self._num_classes = num_classes
        counts = read_counts(class_counts)
        self._given = None if counts is None else ClassDistribution.build(counts)
        if counts is not None:
            warn_without_num_images(self, counts)
        if counts is not None and not is_by_name(counts):
            self._accept(self._given)
            self.class_distribution.pinned = True

    def set_class_distribution(self, distribution: ClassDistribution) -> None:
        """Set the distribution of the training data; ``class_counts`` of the config take precedence."""
        if self._given is not None and self._given.class_names and distribution.class_names:
            self._accept(self._given.in_label_order(distribution.class_names))
        elif self.class_distribution.pinned:
            given = self.class_distribution.get().num_classes
            self._check_entries(
                '`class_counts`', given, distribution.num_classes, ', one per class of the training data,'
            )
        elif self._given is None:
            self._accept(distribution, 'the training data')
        elif self.class_distribution.get() is None:  # otherwise a checkpoint has them in label order
            raise missing_names_error('the training data')

    def get_class_distribution(self) -> ClassDistribution:
        """Return the distribution.

        Raises:
            RuntimeError: There is none yet.
        """
        distribution = self.class_distribution.get()
        if distribution is None:
            raise missing_distribution_error(type(self).__name__)
        return distribution

    def expected_num_classes(self) -> int | None:
        """Return the number of classes that every distribution must have, or None for any."""
        if self.class_distribution.pinned:
            return self.class_distribution.get().num_classes
        return self._num_classes

    def check_logits(self, cls_score: Tensor) -> None:
        """Check that logits (..., C) have the number of classes of the training data."""
        num_classes = self.get_class_distribution().num_classes
        if cls_score.size(-1) != num_classes:
            raise InputError(
                f'{type(self).__name__}: expected logits of {num_classes} classes, as in the training data, but got '
                f'shape {tuple(cls_score.shape)}.'
            )

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        """Derive tensors from the distribution; does nothing by default."""

    def register_derived(self, name: str, value: np.ndarray | Tensor) -> None:
        """Register a float64 tensor derived from the distribution; it is not saved.

        Cast it to the logits where it is used (``self.log_prior.to(cls_score)``).
        """
        device = self.class_distribution.num_images.device
        value = torch.as_tensor(value, dtype=torch.float64, device=device)
        self.register_buffer(name, value, persistent=False)

    def _accept(self, distribution: ClassDistribution, source: str = '`class_counts`') -> None:
        self._check_entries(source, distribution.num_classes, self.expected_num_classes())
        self.class_distribution.set(distribution)
        self.on_class_distribution(distribution)

    def _check_entries(self, source: str, got: int, expected: int | None, meaning: str = ',') -> None:
        """Raise an error if a source of counts has not the expected number of entries."""
        if expected is not None and got != expected:
            hint = self.background_hint if got == expected + 1 else ''
            raise ClassDistributionError(
                f'{type(self).__name__}: expected {source} to have {expected} entries{meaning} but got {got}.{hint}'
            )

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        # children load after their parent, so the distribution is read from the state dict itself
        own = {k: v for k, v in state_dict.items() if k.startswith(prefix + 'class_distribution.')}
        distribution = ClassDistribution.from_state_dict(own)
        if distribution is None or self.class_distribution.pinned:
            return
        if self._num_classes not in (None, distribution.num_classes):  # a new head on old features keeps its own
            for key in own:
                del state_dict[key]
            return
        self.on_class_distribution(distribution)


def set_class_distribution(model: nn.Module, distribution: ClassDistribution) -> None:
    """Set the distribution of all modules of a model that take one, and that of the model itself.

    Args:
        model: The model, without wrapper.
        distribution: The class distribution.
    """
    for module in model.modules():
        if hasattr(module, 'set_class_distribution'):
            module.set_class_distribution(distribution)
    top = getattr(model, 'class_distribution', None)
    if isinstance(top, ClassDistributionBuffer) and not top.pinned:
        top.set(distribution)
