"""LogN: normalize the logits of a trained detector by their mean and standard deviation per class."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmengine.dist import all_gather_object
from mmengine.logging import print_log
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .base import add_mixin
from .detector_correction import Corrected, DetectorCorrection, classifier_layer, scores_by_sigmoid

__all__ = ['LogN', 'LogitMoments', 'normalize_logits']

MIN_VARIANCE = 1e-11


class LogitMoments:
    """Exact mean and variance of the logits per column over many batches, in float64.

    Each batch is centered at its own mean, and the parts are joined by the formula of Chan et al.: the result is that
    of a first pass for the mean and a second one for the variance, but for rounding.
    """

    def __init__(self) -> None:
        self.num = 0
        self.mean = self.sum_of_squares = torch.zeros(())

    def update(self, logits: Tensor) -> None:
        """Add logits, (N, width)."""
        if len(logits):
            logits = logits.detach().double().cpu()
            mean = logits.mean(0)
            self.add(len(logits), mean, (logits - mean).square().sum(0))

    def add(self, num: int, mean: Tensor, sum_of_squares: Tensor) -> None:
        """Add ``num`` rows by their mean and the sum of the squares of their deviations from it, (width,)."""
        total = self.num + num
        delta = mean - self.mean
        self.sum_of_squares = self.sum_of_squares + sum_of_squares + delta.square() * (self.num * num / total)
        self.mean = self.mean + delta * (num / total)
        self.num = total

    @property
    def variance(self) -> Tensor:
        """Unbiased variance, (width,)."""
        if self.num < 2:
            raise InputError(f'Expected at least 2 proposals to take the moments of their logits, but got {self.num}.')
        return self.sum_of_squares / (self.num - 1)


def normalize_logits(cls_score: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    r"""Compute :math:`(z_c - (\mu_c - \min_k \mu_k)) / \sigma_c` for the C classes; further columns stay.

    Args:
        cls_score: Logits, (..., C) or wider, those of the C classes first.
        mean: (C,), float64.
        std: (C,), float64.
    """
    classes, others = cls_score[..., : len(mean)], cls_score[..., len(mean) :]
    return torch.cat([(classes - (mean - mean.min()).to(classes)) / std.to(classes), others], dim=-1)


@MODELS.register_module()
class LogN(DetectorCorrection):
    r"""Raises the logits of rare classes, which have lower means and vary less than those of frequent classes.

    .. math:: z'_c = \frac{z_c - (\mu_c - \min_k \mu_k)}{\sigma_c}

    :math:`\mu` and :math:`\sigma` are taken over the proposals that the head would train on, sampled and with the
    ground truth among them, in one epoch of ``train_dataloader`` by the trained model. Background stays. No class
    counts are needed.

    It corrects box heads of two-stage detectors and cascades (mmdet's BBoxHead), each stage by its own moments: with a
    softmax, as in [0], with Seesaw, and with one sigmoid per class, where the map of the logits is the same and no
    result is published. Dense and DETR heads sample no proposals. ``fc_cls`` can hold the correction.

    Small scores get lower or higher by orders of magnitude: [1] sets ``score_thr`` to 0.

    References:
        [0] Zhao et al., Logit Normalization for Long-tail Object Detection, IJCV 2024, arXiv 2203.17020.
        [1] github.com/MCG-NJU/LogN @597baa5. Reproduced with the moments of [1] (tests/conformance, ``logn``). There
            they are averages of batch statistics with momentum 1e-4 from 0 and 1, which are biased unless the
            iterations are many; here they are exact.

    Args:
        mean: :math:`\mu` per stage and class, (S, C); one list for one stage. Default: from the training data.
        std: :math:`\sigma`, the same.
        num_images: Training images for the moments. Default: one epoch.
    """

    head_types = dict(BBoxHead=BBoxHead)
    corrects_each_stage = True
    needs_sigmoid_or_softmax = False

    def __init__(
        self,
        mean: Sequence[float] | Sequence[Sequence[float]] | None = None,
        std: Sequence[float] | Sequence[Sequence[float]] | None = None,
        num_images: int | None = None,
    ) -> None:
        super().__init__()
        check(mean=(mean, 'finite or None'), std=(std, '> 0 or None'), num_images=(num_images, 'int >= 1 or None'))
        if (mean is None) != (std is None):
            raise InputError('Expected both or none of `mean` and `std`.')
        self.num_images = num_images
        self._is_given = mean is not None
        self.mean, self.std = (
            None if x is None else torch.atleast_2d(torch.tensor(x, dtype=torch.float64)) for x in (mean, std)
        )
        if mean is not None and self.mean.shape != self.std.shape:
            raise InputError(
                f'Expected `mean` and `std` of the same shape, but got {tuple(self.mean.shape)} and '
                f'{tuple(self.std.shape)}.'
            )

    @property
    def needs_fit(self) -> bool:
        """Whether the moments come from the training data, those of the current weights."""
        return not self._is_given

    def fit(self, train: Any, val: Any) -> None:
        """Take the moments of the logits, each stage by itself.

        Args:
            train: Training data, with ``visit_proposals(visit, num_images)``.
            val: Not used, as there is no strength to search.
        """
        moments: defaultdict[int, LogitMoments] = defaultdict(LogitMoments)
        was_enabled, self.enabled = self.enabled, False
        train.visit_proposals(
            lambda stage, head, logits: moments[stage].update(logits[:, : head.num_classes]), self.num_images
        )
        self.enabled = was_enabled
        total: defaultdict[int, LogitMoments] = defaultdict(LogitMoments)
        for rank in all_gather_object({s: (m.num, m.mean, m.sum_of_squares) for s, m in moments.items()}):
            for stage, part in rank.items():
                if part[0]:
                    total[stage].add(*part)
        if not total:
            raise InputError('LogN needs proposals in the training data, but got none.')
        self.mean = torch.stack([total[stage].mean for stage in sorted(total)])
        self.std = torch.stack([total[stage].variance.clamp(min=MIN_VARIANCE).sqrt() for stage in sorted(total)])
        print_log(f'Moments of the logits of {total[0].num} proposals.', 'current')

    def heads(self, model: nn.Module) -> dict[str, nn.Module]:
        heads = super().heads(model)
        for stage, head in enumerate(heads.values()):
            head.cascade_stage = stage  # its row of the moments, in copies too
        return heads

    def check(self, head: nn.Module) -> None:
        super().check(head)
        width = getattr(head.fc_cls, 'out_features', None)  # asking the loss would reset its state
        if width is not None:
            self.check_width(width, head.num_classes)

    def attach(self, head: nn.Module) -> None:
        self.check(head)
        add_mixin(head, NormalizedHead, step=self, stage=_stage(head))

    def correct_logits(self, cls_score: Tensor, uses_sigmoid: bool, stage: int = 0) -> Tensor:
        """See :class:`DetectorCorrection`; the same for softmax and sigmoids.

        Args:
            cls_score: See :class:`DetectorCorrection`.
            uses_sigmoid: Same.
            stage: Stage of a cascade that the logits are from.
        """
        if self.mean is None:
            raise InputError('LogN needs the moments of the logits: call fit(), or pass `mean` and `std`.')
        if stage >= len(self.mean):
            raise InputError(f'LogN: expected `mean` of every stage of the cascade, but got {len(self.mean)} rows.')
        mean, std = self.mean[stage].to(cls_score.device), self.std[stage].to(cls_score.device)
        self.check_width(cls_score.size(-1), len(mean))
        return normalize_logits(cls_score, mean, std)

    @torch.no_grad()
    def write(self, head: nn.Module) -> bool:
        layer = classifier_layer(head)
        if layer is None or layer.bias is None:
            return False
        layer.bias.copy_(self.correct_logits(layer.bias, scores_by_sigmoid(head), _stage(head)))
        std = self.std[_stage(head)].to(layer.weight)
        layer.weight[: len(std)] /= std[:, None]
        return True

    def settings(self) -> Mapping[str, Any]:
        images = {} if self.num_images is None else dict(num_images=self.num_images)
        moments = {} if self.mean is None else dict(mean=self.mean.tolist(), std=self.std.tolist())
        return moments | images

    def extra_repr(self) -> str:
        return '' if self.num_images is None else f'num_images={self.num_images}'


class NormalizedHead(Corrected):
    """Mixin for a box head: normalizes the logits of its stage, except in training."""

    step: LogN
    stage: int

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        cls_score, *others = super().forward(*args, **kwargs)
        if self.step.enabled and not self.training:
            cls_score = self.step.correct_logits(cls_score, scores_by_sigmoid(self), self.stage)
        return (cls_score, *others)


def _stage(head: nn.Module) -> int:
    return getattr(head, 'cascade_stage', 0)
