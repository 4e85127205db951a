"""Classification head with any classifier layer and any loss."""

from collections.abc import Sequence

from mmpretrain.evaluation.metrics import Accuracy
from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.models.losses.base import ClassificationLoss, weighted_mean
from ltmm.models.losses.objective import LossInputs, Objective
from ltmm.models.state.sample_table import sample_indices
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError

from .base import LongTailHeadMixin, ScoresMixin

__all__ = ['LongTailClsHead']


@MODELS.register_module()
class LongTailClsHead(ScoresMixin, LongTailHeadMixin, ClsHead):
    """Classification head with any classifier layer and any loss; its checkpoints carry the class distribution.

    Predictions follow the loss: the scale of a loss of plain cosines, such as ``ltmm.LDAMLoss``, multiplies the logits
    in evaluation mode, and a loss with ``use_sigmoid = True`` makes the scores sigmoids in place of a softmax. Neither
    changes which class is predicted.

    Args:
        num_classes: C.
        in_channels: D, width of the features.
        classifier: Layer from (N, D) to (N, C), such as ``'ltmm.Linear'`` or ``'ltmm.NormedLinear'``; built with
            ``in_features`` and ``out_features``.
        loss: A loss of logits and labels, of mmpretrain or ltmm, or an objective of ltmm.
        aux_losses: Objectives beside the main loss; each config may have a ``weight`` and a ``name``, which is put
            before the names of its terms in the log.
        cls_views: Views of each image that a loss of logits and labels sees, the first ones. Default: all.
        class_counts: Training images per class. Default: taken from the training data.
        topk: Of the training accuracy, with ``cal_acc``.
        cal_acc: Log the training accuracy, of the first view.
        init_cfg: Initialization of the classifier; the default leaves a cosine layer as it is. The bias starts at 0,
            where the code of most papers leaves PyTorch's uniform start in +-1/sqrt(D).
    """

    accepts = (ClassificationLoss, Objective)
    provides = (*LongTailHeadMixin.provides, 'hard_label')

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        classifier: dict = dict(type='ltmm.Linear'),
        loss: dict = dict(type='CrossEntropyLoss'),
        aux_losses: Sequence[dict] = (),
        cls_views: int | None = None,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        topk: int | tuple[int, ...] = (1,),
        cal_acc: bool = False,
        init_cfg: dict | list | None = dict(type='Normal', layer='Linear', std=0.01),
    ) -> None:
        check(cls_views=(cls_views, 'int >= 1 or None'))
        super().__init__(loss=loss, topk=topk, cal_acc=cal_acc, init_cfg=init_cfg)
        self.num_classes, self.in_channels, self.cls_views = num_classes, in_channels, cls_views
        self.fc = MMPRETRAIN_MODELS.build(dict(in_features=in_channels, out_features=num_classes, **classifier))
        self.init_losses(num_classes, class_counts, aux_losses)
        if cls_views is not None and isinstance(self.loss_module, Objective):
            raise InputError(f'{type(self.loss_module).__name__} sees all views: leave cls_views out.')
        self.init_scores()

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return logits (N, C) of the last stage's features (N, D); in evaluation mode with the scale of the loss."""
        return self.scaled(self._logits(feats))

    def loss(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Tensor) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            feats: Features, the last of them (V N, D) of V views.
            data_samples: Labels of the N images.
            kwargs: Further fields of :class:`LossInputs`, such as ``teacher_logits``.
        """
        return self.compute_losses(self.loss_inputs(feats, data_samples, **kwargs))

    def compute_losses(self, inputs: LossInputs) -> dict[str, Tensor]:
        losses = super().compute_losses(inputs)
        if self.cal_acc:
            if inputs.label.dim() == 2:
                raise InputError('Soft labels have no accuracy: leave Mixup and CutMix out, or set cal_acc=False.')
            accuracy = Accuracy.calculate(inputs.cls_score[: len(inputs.label)], inputs.label, topk=self.topk)
            losses.update({f'accuracy_top-{k}': value for k, value in zip(self.topk, accuracy)})
        return losses

    def loss_inputs(self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Tensor) -> LossInputs:
        """Return the inputs of all losses; for the arguments see :meth:`loss`."""
        label = self.labels_of(data_samples)
        return LossInputs(
            label=label,
            cls_score=self._logits(feats),
            features=self.pre_logits(feats),
            sample_idx=sample_indices(data_samples),
            hard_label=label if label.dim() == 1 else self.hard_labels_of(data_samples),
            classifier=self.fc,
            **kwargs,
        )

    def main_loss(self, inputs: LossInputs) -> Tensor:
        views = inputs.num_views if self.cls_views is None else self.cls_views
        if views > inputs.num_views:
            raise InputError(f'{type(self).__name__}: expected cls_views={views} views, but got {inputs.num_views}.')
        label = inputs.per_view(inputs.label, views)
        cls_score = inputs.cls_score[: len(label)]
        if inputs.weight is not None:
            return weighted_mean(self.loss_module, cls_score, label, inputs.per_view(inputs.weight, views))
        return self.loss_module(cls_score, label, avg_factor=len(cls_score))

    def _logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        return self.fc(self.checked_features(feats))
