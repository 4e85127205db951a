"""Which heads a loss fits, said by the loss and checked before training."""

from mmengine.dist import get_world_size
from torch import nn

from ltmm.class_distribution import ClassDistributionError
from ltmm.models.state.class_distribution import UsesClassDistribution

__all__ = ['HEAD_KINDS', 'check_losses_fit', 'head_kind']

HEAD_KINDS = {
    'cls': "mmpretrain's classification heads",
    'experts': 'ltmm.MultiExpertClsHead',
    'multi_label': 'multi-label heads (ltmm.MultiLabelClsHead and those of mmpretrain)',
    'comic': 'ltmm.COMICHead, as its `balancer`',
    'roi': "mmdet's RoI box heads (Shared2FCBBoxHead, ConvFCBBoxHead, ...)",
    'own_roi': "mmdet's RoI box heads whose classifier is not the loss's affair (DIIHead, SABLHead, ...)",
    'dense': "mmdet's dense heads (RetinaHead, ATSSHead, FCOSHead, ...)",
    'detr': "mmdet's DETR heads",
    'ltmm_dense': 'ltmm.RetinaHead and ltmm.ATSSHead',
    'ltmm_detr': 'ltmm.DeformableDETRHead',
}
PLACES = {'loss_cls': None, 'loss_module': None, 'corrector': None, 'balancer': 'comic'}
"""Where heads keep their losses, and what a loss has to fit there, where that is not the kind of the head."""


def head_kind(head: nn.Module) -> str | None:
    """The kind of a head, a key of :data:`HEAD_KINDS`, by the classes it derives from; None for any other module."""
    names = {cls.__name__ for cls in type(head).__mro__}
    bases = dict(
        ltmm_detr='DETRHeadOfItsLoss',
        ltmm_dense='DenseHeadOfItsLoss',
        detr='DETRHead',
        dense='BaseDenseHead',
        roi='ConvFCBBoxHead',
        own_roi='BBoxHead',
        experts='MultiExpertClsHead',
        multi_label='MultiLabelClsHead',
        cls='ClsHead',
    )  # the special before the general
    if type(head).__name__ == 'BBoxHead':
        return 'roi'
    return next((kind for kind, base in bases.items() if base in names), None)


def check_losses_fit(model: nn.Module) -> None:
    """Refuse a loss in a head it was not made for.

    A loss says what it fits in ``fits``, a tuple of keys of :data:`HEAD_KINDS`; losses without it are not checked. One
    that takes cosines says ``needs_cosine = True``, and ``scaled_by_layer = True`` where they are to come times its
    ``scale``; a classifier layer that gives them says ``is_cosine = True``, and may have a ``scale``. Losses inside of
    losses are checked too, and the further losses of ltmm.COMICHead.

    Raises:
        TypeError: names head and loss, and lists the heads that fit; or a loss of cosines has no cosine layer; or, with
            several processes, a loss that adds up over all of them is in a box head of mmdet's own.
        ValueError: cosines would be scaled by the layer and again by the loss, or not as the loss expects it.
        ClassDistributionError: a loss was built for another number of classes than the head.
    """
    for name, head in model.named_modules():
        kind = head_kind(head)
        for place, kind_there in PLACES.items() if kind else ():
            loss = getattr(head, place, None)
            for part in loss.modules() if isinstance(loss, nn.Module) else ():
                fits = getattr(part, 'fits', None)
                expected = kind_there if kind_there and part is loss else kind
                if fits is not None and expected not in fits:
                    further = f'the `{place}` of ' if place in ('corrector', 'balancer') else ''
                    what = f'one of {HEAD_KINDS[kind]}' if expected == kind else 'where ltmm.HeadTailBalancerLoss fits'
                    raise TypeError(
                        f'{type(part).__name__} does not fit {further}{name or "its head"} ({type(head).__name__}, '
                        f'{what}). It fits: {"; ".join(HEAD_KINDS[fit] for fit in fits)}.'
                    )
                if getattr(part, 'sums_over_ranks', False) and get_world_size() > 1:
                    _check_is_called_on_every_rank(name, head, kind)
                if getattr(part, 'needs_cosine', False):
                    _check_cosine(name, head, part)
                if isinstance(part, UsesClassDistribution):
                    _check_num_classes(name, head, part)


def _check_is_called_on_every_rank(name: str, head: nn.Module, kind: str) -> None:
    """Refuse sums over all ranks in a head that may leave its loss out on one of them."""
    if kind == 'roi' and 'FollowsItsLoss' not in {cls.__name__ for cls in type(head).__mro__}:
        raise TypeError(
            f"{name or 'The head'} is mmdet's {type(head).__name__}, which leaves its loss out on a process without "
            'proposals, while the others would wait for it for ever: this loss adds up what all processes see. Use '
            'ltmm.Shared2FCBBoxHead, ltmm.ConvFCBBoxHead or ltmm.Shared4Conv1FCBBoxHead, or one process.'
        )


def _check_cosine(name: str, head: nn.Module, loss: nn.Module) -> None:
    """Refuse a loss of cosines in a head without them, and a scale that is given twice."""
    layers = [layer for layer in head.modules() if getattr(layer, 'is_cosine', False)]
    where = f'{name or "its head"} ({type(head).__name__})'
    if not layers:
        raise TypeError(
            f'{type(loss).__name__} takes cosines, but no layer of {where} gives them. '
            "Use classifier=dict(type='ltmm.NormedLinear') in a head of ltmm, or say `is_cosine = True` in the class "
            'of your own cosine layer.'
        )
    for layer in layers:
        scale = getattr(layer, 'scale', 1)
        if getattr(loss, 'scaled_by_layer', False):
            if scale != loss.scale:
                raise ValueError(
                    f'{where}: {type(loss).__name__}(scale={loss.scale}) expects the classifier to scale its cosines '
                    f'alike, but got {type(layer).__name__}(scale={scale}). Use '
                    f"classifier=dict(type='ltmm.NormedLinear', scale={loss.scale})."
                )
        elif scale != 1 and loss.scale != 1:
            raise ValueError(
                f'{where}: the cosines are scaled twice, by {type(layer).__name__}(scale={scale}) and by '
                f'{type(loss).__name__}(scale={loss.scale}). Leave the scale of the layer at 1.'
            )


def _check_num_classes(name: str, head: nn.Module, loss: UsesClassDistribution) -> None:
    """Refuse class counts of another length than the head has classes."""
    expected, got = getattr(head, 'num_classes', None), loss.expected_num_classes()
    if None not in (expected, got) and expected != got:
        hint = ' Leave the background class out: counts are of the foreground classes only.'
        raise ClassDistributionError(
            f'{name or "The head"} ({type(head).__name__}) has num_classes={expected}, but its {type(loss).__name__} '
            f'was built for {got} classes, by `class_counts` or `num_classes`.' + (hint if got == expected + 1 else '')
        )
