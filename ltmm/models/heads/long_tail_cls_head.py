"""The classification head: any classifier layer, any loss."""

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.models.fits import check_losses_fit
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS

__all__ = ['LongTailClsHead']


@MODELS.register_module()
class LongTailClsHead(UsesClassDistribution, ClsHead):
    """One classifier layer and one loss, both by config; its checkpoints carry the class distribution.

    It predicts as the loss means it. A loss that scales plain cosines itself, such as ``ltmm.LDAMLoss``, alone or in
    another, sees the cosines; in evaluation mode the logits are the cosines times its scale, so that probabilities and
    corrections after training are of the logits that were trained. A loss of one sigmoid a class (it says
    ``use_sigmoid = True``) makes the scores sigmoids in place of a softmax. Neither changes which class is predicted.

    Args:
        num_classes: C.
        in_channels: D, width of the features.
        classifier: layer from (N, D) to (N, C), such as ``'ltmm.Linear'`` or ``'ltmm.NormedLinear'``; built with
            ``in_features`` and ``out_features``.
        loss: any loss of mmpretrain or ltmm.
        class_counts: training images per class; taken from the training data when left out.
        topk: of the training accuracy, where ``cal_acc`` asks for it.
        cal_acc: log the training accuracy.
        init_cfg: initialisation of the classifier; the default leaves a cosine layer its own.

    Raises:
        ValueError: C is not positive; at a forward, features that are not (N, D).
        ClassDistributionError: a loss for, or training data with, another number of classes.
        TypeError: a loss that was made for other heads, or a loss of cosines with a classifier that gives none.
        ValueError: cosines scaled by the classifier and again by the loss.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        classifier: dict = dict(type='ltmm.Linear'),
        loss: dict = dict(type='CrossEntropyLoss'),
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        topk: int | tuple[int, ...] = (1,),
        cal_acc: bool = False,
        init_cfg: dict | list | None = dict(type='Normal', layer='Linear', std=0.01),
    ) -> None:
        if num_classes <= 0:
            raise ValueError(f'Expected `num_classes` to be positive, but got {num_classes}.')
        super().__init__(loss=loss, topk=topk, cal_acc=cal_acc, init_cfg=init_cfg)
        self.num_classes, self.in_channels = num_classes, in_channels
        self.fc = MMPRETRAIN_MODELS.build(dict(in_features=in_channels, out_features=num_classes, **classifier))
        self.init_class_distribution(class_counts, num_classes)
        check_losses_fit(self)
        losses = list(self.loss_module.modules())
        self.cosine_scale = next((part.scale for part in losses if getattr(part, 'needs_cosine', False)), 1.0)
        self.use_sigmoid = any(getattr(part, 'use_sigmoid', False) for part in losses)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Logits (N, C) of the last stage's features (N, D); in evaluation mode with the scale of the loss."""
        logits = self._logits(feats)
        return logits if self.training or self.cosine_scale == 1 else self.cosine_scale * logits

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Any) -> dict[str, Tensor]:
        """The loss, in evaluation mode too that of the logits as training has them.

        Args:
            feats: features, the last of them (N, D).
            data_samples: labels of the N images.
            kwargs: what else the loss takes.
        """
        return self._get_loss(self._logits(feats), data_samples, **kwargs)

    def _logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        features = self.pre_logits(feats)
        if features.dim() != 2 or features.size(1) != self.in_channels:
            raise ValueError(
                f'{type(self).__name__}: expected features of shape (N, {self.in_channels}), as in_channels says, but '
                f'got {tuple(features.shape)}. '
                + (
                    f'Set in_channels={features.size(1)}.'
                    if features.dim() == 2
                    else "A neck such as dict(type='GlobalAveragePooling') is missing."
                )
            )
        return self.fc(features)

    def _get_predictions(self, cls_score: Tensor, data_samples: list[DataSample | None] | None) -> list[DataSample]:
        predictions = super()._get_predictions(cls_score, data_samples)
        if self.use_sigmoid:
            for sample, score in zip(predictions, cls_score.sigmoid()):
                sample.set_pred_score(score)
        return predictions
