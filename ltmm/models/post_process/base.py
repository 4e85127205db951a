"""Base class of the corrections of a trained model."""

import logging
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import numpy as np
from mmengine.logging import print_log
from mmpretrain.models.heads import ClsHead
from torch import Tensor, nn

from ltmm.utils.errors import InputTypeError

from .search import LOWER_IS_BETTER

__all__ = ['PostProcess', 'add_mixin', 'attach_correction', 'classification_head', 'linear_layer']


class PostProcess(nn.Module):
    """A correction of a trained classifier; training never sees it.

    A subclass, registered in ``MODELS``, defines :meth:`forward`. If it names its :attr:`strength`, :meth:`fit`
    searches that; one with more to learn overrides :meth:`fit`. One that a classifier layer can hold overrides
    :meth:`write`.
    """

    strength: ClassVar[str | None] = None
    """Name of the attribute that :meth:`fit` searches."""
    grid: tuple[float, float, int] | None = (0, 2, 21)
    """First strength of the search, last strength, number of strengths; None for a :meth:`fit` of its own."""
    objective: str = 'balanced_accuracy'
    """Figure on the validation split that the search looks at."""
    needs_fit: bool = False
    """Whether :meth:`forward` needs :meth:`fit` first."""
    replaces_logits: ClassVar[bool] = False
    """Whether the logits are computed from the features, so that corrections before this one would have no effect."""
    has_to_be_last: ClassVar[bool] = False
    """Whether what the correction adds to predictions holds only for the logits that it is fitted to."""
    replaces: ClassVar[tuple[str, ...]] = ()
    """Prefixes of parameters that the correction replaces; a checkpoint may lack them."""
    keeps_state: ClassVar[bool] = False
    """Whether the correction has buffers to save, empty until fitted; ``ltmm.CorrectedHead`` holds it in a model."""
    val_mix: ClassVar[str | None] = None
    """Whose class mix the validation data have to have: ``'train'``, ``'test'``, or None for any."""
    corrects_prior: bool = False
    """Whether the correction assumes a model that is biased to frequent classes."""
    cost_on_balanced: ClassVar[str] = 'can cost ten points of accuracy'
    """End of the warning when a model trained with balancing is corrected."""
    processor: ClassVar[str] = 'ltmm.ClassifierPostProcessor'
    """Class in ``POST_PROCESSORS`` that fits, evaluates and writes the correction."""
    enabled: bool = True

    def forward(self, cls_score: Tensor, features: Tensor, head: nn.Module) -> Tensor:
        """Corrected logits, (N, C).

        Args:
            cls_score: Logits, (N, C).
            features: Input of the classifier layer, (N, D).
            head: Head that computed the logits.
        """
        raise NotImplementedError(f'{type(self).__name__} must define forward(cls_score, features, head).')

    def fit(self, train: Any, val: Any) -> None:
        """Set the strength to the best of :attr:`grid`, by :attr:`objective` on the validation split.

        Args:
            train: Training split, a :class:`ltmm.engine.post_process.SplitOutputs`: ``features``, ``label``,
                ``logits``, ``class_means()``, ``class_variances()``, each computed when first used.
            val: Validation split, the same; ``evaluate(step, strengths)`` gives the objective per strength.
        """
        if self.strength is None:
            return
        first, last, num = self.grid
        for strength in (first, last):
            type(self)(**{**self.settings(), self.strength: strength})  # refuses what the argument may not be
        strengths = np.linspace(first, last, int(num)).round(9).tolist()  # 1.2, not 1.2000000000000002
        values = val.evaluate(self, strengths)
        best = strengths[int(np.argmin(values) if self.objective in LOWER_IS_BETTER else np.argmax(values))]
        setattr(self, self.strength, best)
        rows = '\n'.join(f'{strength:>10.4g}  {value:.3f}' for strength, value in zip(strengths, values))
        print_log(f'{self.strength}, {self.objective} on the validation split:\n{rows}\nbest: {best:g}', 'current')
        if min(values) < max(values) and (best == strengths[-1] or best == strengths[0] != 0):
            print_log(f'The best {self.strength} is at the end of the grid: widen it.', 'current', logging.WARNING)

    def heads(self, model: nn.Module) -> dict[str, nn.Module]:
        """Heads of ``model`` to correct, by name."""
        return {'head': classification_head(model, type(self).__name__)}

    def attach_to(self, model: nn.Module) -> None:
        """Check the heads of ``model`` and correct its predictions."""
        heads = self.heads(model).values()
        for head in heads:
            self.check(head)
        for head in self.corrected(heads):
            self.attach(head)

    def corrected(self, heads: Collection[nn.Module]) -> Collection[nn.Module]:
        """Return those of the :meth:`heads` that :meth:`attach` has to correct: all by default."""
        return heads

    def check(self, head: nn.Module) -> None:
        """Raise a TypeError if the correction does not fit ``head``."""

    def attach(self, head: nn.Module) -> None:
        """Correct what ``head`` predicts from now on, except in training and while not :attr:`enabled`."""
        head.register_forward_hook(self._correct)

    def _correct(self, head: nn.Module, args: tuple, cls_score: Tensor) -> Tensor:
        if head.training or not self.enabled:
            return cls_score
        return self(cls_score, head.pre_logits(args[0]), head)

    def head_config(self, head: nn.Module) -> dict[str, Any] | None:
        """Config of the head to :meth:`write` into, or None for one like ``head``."""
        return None

    def write(self, head: nn.Module) -> bool:
        """Build the correction into ``head``, and return whether that is possible."""
        return False

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        for name, buffer in self._buffers.items():
            if prefix + name in state_dict and not buffer.numel():
                setattr(self, name, buffer.new_zeros(state_dict[prefix + name].shape))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def settings(self) -> Mapping[str, Any]:
        """Arguments that build this correction again, for a config and to check the ends of a grid."""
        return {} if self.strength is None else {self.strength: getattr(self, self.strength)}

    def extra_repr(self) -> str:
        return ', '.join(
            f'{key}={value:.6g}' if isinstance(value, float) else f'{key}={value}'
            for key, value in self.settings().items()
        )


def attach_correction(head: nn.Module, correction: PostProcess) -> nn.Module:
    """Make a correction a part of ``head``, saved in its checkpoints, and return the head."""
    correction.check(head)
    head.correction = correction
    correction.attach(head)
    return head


def add_mixin(module: nn.Module, mixin: type, **attributes: Any) -> None:
    """Give a module the methods of a mixin, before its own, by a subclass as ``torch.nn.utils.parametrize`` does.

    Args:
        module: Module; its parameters and their names stay.
        mixin: Mixin.
        attributes: Class attributes of the subclass, which do not enter the state dict.
    """
    module.__class__ = type(f'{mixin.__name__}{type(module).__name__}', (mixin, type(module)), attributes)


def classification_head(model: nn.Module, user: str) -> ClsHead:
    """Return the head of a classifier with one label per image.

    Args:
        model: Classifier of mmpretrain or ltmm.
        user: Name of what needs the head, for the message.
    """
    head = dict(model.named_children()).get('head', model)
    if not isinstance(head, ClsHead):
        raise InputTypeError(
            f"{user} needs a classifier with a head derived from mmpretrain's ClsHead, but got {type(head).__name__}."
        )
    return head


def linear_layer(head: nn.Module) -> nn.Linear | None:
    """Return the linear layer that computes the logits of ``head``; None if there is none or several.

    Args:
        head: Head of mmpretrain or ltmm. Subclasses of ``nn.Linear``, which may compute anything, do not count.
    """
    layers = [
        module
        for name, module in head.named_modules()
        if type(module) is nn.Linear and module.out_features == head.num_classes and not name.startswith('loss_module')
    ]
    return layers[0] if len(layers) == 1 else None
