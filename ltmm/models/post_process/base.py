"""What the corrections of a trained classifier share."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

__all__ = ['PostProcess', 'box_heads', 'linear_layer']


class PostProcess(nn.Module):
    """A correction of what a trained classifier predicts; training never sees it.

    A subclass writes :meth:`forward`. Where the correction can be written into a linear classifier layer, so that the
    checkpoint needs nothing else from then on, it writes :meth:`fold` too.
    """

    strength: ClassVar[str | None] = None  # name of the one number that a search varies
    grid: ClassVar[tuple[float, float, int]] = (0, 2, 21)  # where it looks: first, last, how many
    objective: ClassVar[str] = 'balanced_accuracy'  # what it looks for on the validation split
    needs_features: ClassVar[bool] = False
    needs_class_means: ClassVar[bool] = False
    fits: ClassVar[tuple[str, ...]] = ('cls', 'experts')

    def forward(self, cls_score: Tensor, features: Tensor | None, head: nn.Module) -> Tensor:
        """Corrected logits, (N, C).

        Args:
            cls_score: logits, (N, C).
            features: what the classifier layer of ``head`` saw, (N, D); None unless :attr:`needs_features`.
            head: the head that gave the logits.
        """
        raise NotImplementedError(f'{type(self).__name__} must define forward(cls_score, features, head).')

    def check(self, head: nn.Module) -> None:
        """Raise what is wrong with this head; nothing by default."""

    def fold(self, head: nn.Module) -> bool:
        """Write the correction into the linear layer of ``head``, and say whether that could be done."""
        return False

    def settings(self) -> Mapping[str, Any]:
        """Arguments that build this correction again, for a config."""
        return {} if self.strength is None else {self.strength: getattr(self, self.strength)}

    def extra_repr(self) -> str:
        """Shown in ``print(model)``."""
        return ', '.join(f'{key}={value}' for key, value in self.settings().items())


def linear_layer(head: nn.Module) -> nn.Linear | None:
    """The one linear layer of ``head`` whose outputs are its logits; None where there is none, or several.

    Args:
        head: any head of mmpretrain or ltmm; subclasses of ``nn.Linear``, which may compute anything, do not count.
    """
    layers = [
        module
        for name, module in head.named_modules()
        if type(module) is nn.Linear and module.out_features == head.num_classes and not name.startswith('loss_module')
    ]
    return layers[0] if len(layers) == 1 else None


def box_heads(model: nn.Module, name: str) -> list[nn.Module]:
    """The heads that score the boxes of a detector of mmdet: of two stages, stage by stage, or the one head it has.

    Args:
        model: the detector.
        name: what needs them, for the message.

    Raises:
        TypeError: a model without any.
    """
    heads = getattr(getattr(model, 'roi_head', model), 'bbox_head', None)
    if heads is None:
        raise TypeError(
            f"{name} corrects mmdet's detectors, which have a `roi_head.bbox_head` or a `bbox_head`, but got "
            f'{type(model).__name__}.'
        )
    return list(heads) if isinstance(heads, nn.ModuleList) else [heads]
