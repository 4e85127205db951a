"""Which heads a loss fits, said by the loss and checked before training."""

from torch import nn

__all__ = ['HEAD_KINDS', 'check_losses_fit', 'head_kind']

HEAD_KINDS = {
    'cls': "mmpretrain's classification heads",
    'roi': "mmdet's RoI box heads (Shared2FCBBoxHead, ConvFCBBoxHead, ...)",
    'dense': "mmdet's dense heads (RetinaHead, ATSSHead, FCOSHead, ...)",
    'detr': "mmdet's DETR heads",
}


def head_kind(head: nn.Module) -> str | None:
    """The kind of a head, a key of :data:`HEAD_KINDS`, by the classes it derives from; None for any other module."""
    names = {cls.__name__ for cls in type(head).__mro__}
    for kind, base in (('detr', 'DETRHead'), ('dense', 'BaseDenseHead'), ('roi', 'BBoxHead'), ('cls', 'ClsHead')):
        if base in names:
            return kind
    return None


def check_losses_fit(model: nn.Module) -> None:
    """Refuse a loss in a head it was not made for.

    A loss says what it fits in ``fits``, a tuple of keys of :data:`HEAD_KINDS`; losses without it are not checked.

    Raises:
        TypeError: names head and loss, and lists the heads that fit.
    """
    for name, head in model.named_modules():
        kind = head_kind(head)
        for attribute in ('loss_cls', 'loss_module') if kind else ():
            loss = getattr(head, attribute, None)
            fits = getattr(loss, 'fits', None)
            if fits is not None and kind not in fits:
                raise TypeError(
                    f'{type(loss).__name__} does not fit {name or "its head"} ({type(head).__name__}, '
                    f'one of {HEAD_KINDS[kind]}). It fits: {"; ".join(HEAD_KINDS[fit] for fit in fits)}.'
                )
