"""ROG: any loss of single proposals, and beside it a ranking of all of them."""

from torch import Tensor, nn

from ltmm.registry import MODELS

from .any_roi_loss import build_roi_loss, cls_channels, roi_accuracy, roi_scores

__all__ = ['ROGLoss']


@MODELS.register_module()
class ROGLoss(nn.Module):
    r"""Adds to any classification loss of a box head a ranking loss that lifts the tail's objects above all the rest.

    .. math:: L = L_\mathrm{base} + L_\mathrm{rank}

    The base loss looks at each proposal by itself, the ranking loss at all of a batch together. Width of the
    classifier, scores, accuracy and prior probability are those of the base loss, so that it takes one line to add the
    ranking::

        loss_cls=dict(type='ltmm.ROGLoss', loss=dict(type='ltmm.SeesawLoss', ...))

    On several GPUs mmdet's own box heads are refused at the start of training: they do not call the loss on a rank
    without proposals, for whose counts the others would wait.

    [0] Zhang et al., Reconciling Object-Level and Global-Level Objectives for Long-Tail Detection, ICCV 2023.
    [1] github.com/EricZsy/ROG @1dad3cf. Equal to [1] on its own numbers (tests/conformance, ``rog_gap``).

    Args:
        loss: any loss of a box head, of ltmm or mmdet.
        loss_rank: the ranking loss, on the logits of the C classes; built with ``num_classes``, which the head says.

    Raises:
        TypeError: ``loss`` has sigmoids, but mmdet's box heads would score its proposals by a softmax; or, when the
            head is built, it takes no logits and labels, or gives no score of background.
        RuntimeError: at a forward outside of a head, before :meth:`get_cls_channels` has said C.
        ValueError: at a forward, a reduction other than the mean.
    """

    fits = ('roi',)
    custom_cls_channels = True
    custom_activation = True
    custom_accuracy = True

    def __init__(self, loss: dict, loss_rank: dict = dict(type='ltmm.GAPLoss')) -> None:
        super().__init__()
        self.loss = build_roi_loss(loss, 'ROGLoss')
        self._rank_cfg = loss_rank
        self.loss_rank: nn.Module | None = None

    @property
    def prior_prob(self) -> float | None:
        """Score of every class at the start of training; None where the base loss has no wish."""
        return getattr(self.loss, 'prior_prob', None)

    def get_cls_channels(self, num_classes: int) -> int:
        """Width of the classifier; from now on there are ``num_classes`` classes to rank.

        Args:
            num_classes: C.
        """
        self.loss_rank = MODELS.build(dict(self._rank_cfg, num_classes=num_classes))
        return cls_channels(self.loss, num_classes, 'ROGLoss')

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Scores (N, C + 1), the last of background, as the base loss alone would have them."""
        return roi_scores(self.loss, cls_score)

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Accuracy in percent, as the base loss alone would have it."""
        return roi_accuracy(self.loss, cls_score, labels)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> dict[str, Tensor]:
        """The terms of the base loss, or ``loss_cls`` where it has but one, and ``loss_rank``.

        Args:
            cls_score: logits, (N, width of the classifier).
            label: class indices, (N,); C is background.
            weight: factor of each proposal in the base loss, (N,); those of weight 0 are not ranked.
            avg_factor: what the mean of the base loss divides by.
            reduction_override: None or ``'mean'``.
        """
        if self.loss_rank is None:
            raise RuntimeError(
                'ROGLoss does not know the number of classes: put it into a box head, or call get_cls_channels(C).'
            )
        if reduction_override not in (None, 'mean'):
            raise ValueError(f"ROGLoss: expected the reduction to be 'mean', but got {reduction_override!r}.")
        loss = self.loss(cls_score, label, weight, avg_factor=avg_factor, reduction_override=reduction_override)
        terms = loss if isinstance(loss, dict) else dict(loss_cls=loss)
        return terms | dict(loss_rank=self.loss_rank(cls_score, label, weight))
