"""The multi-label classification head: any classifier layer, any loss, three-state targets."""

from collections.abc import Sequence

import torch
from mmpretrain.models.heads import MultiLabelClsHead as MMPretrainMultiLabelClsHead
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from mmpretrain.structures import DataSample, label_to_onehot
from torch import Tensor

from ltmm.models.fits import check_losses_fit
from ltmm.models.losses.multi_label.base import MultiLabelLoss, check_targets
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS

__all__ = ['MultiLabelClsHead']


@MODELS.register_module()
class MultiLabelClsHead(UsesClassDistribution, MMPretrainMultiLabelClsHead):
    """One classifier layer and one multi-label loss; its checkpoints carry the class distribution.

    Targets are the ``gt_score`` (C,) of the data samples: 1 positive, 0 negative, -1 unknown; where a sample has only
    a ``gt_label``, all other classes are negative. The scores are sigmoids of the logits. A loss of mmpretrain works
    too; unknown labels are kept from it.

    Args:
        num_classes: C.
        in_channels: D, width of the features.
        loss: a multi-label loss of ltmm or mmpretrain.
        classifier: layer from (N, D) to (N, C), such as ``'ltmm.Linear'`` or ``'ltmm.NormedLinear'``; built with
            ``in_features`` and ``out_features``.
        class_counts: training images per class; taken from the training data when left out.
        thr: classes that score at least this are predicted; 0.5 where neither ``thr`` nor ``topk`` is given.
        topk: number of classes to predict, where ``thr`` is not given.
        init_cfg: initialisation of the classifier; the default leaves a cosine layer its own.

    Raises:
        ValueError: C is not positive; cosines scaled by the classifier and again by the loss; at a forward, targets
            of another value, or unknown labels in a loss that has no meaning for them.
        ClassDistributionError: training data with another number of classes.
        TypeError: a loss that was made for other heads, or a loss of cosines with a classifier that gives none.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        loss: dict,
        classifier: dict = dict(type='ltmm.Linear'),
        class_counts: Sequence[int] | dict | str | None = None,
        thr: float | None = None,
        topk: int | None = None,
        init_cfg: dict | list | None = dict(type='Normal', layer='Linear', std=0.01),
    ) -> None:
        if num_classes <= 0:
            raise ValueError(f'Expected `num_classes` to be positive, but got {num_classes}.')
        super().__init__(loss=loss, thr=thr, topk=topk, init_cfg=init_cfg)
        self.num_classes, self.in_channels = num_classes, in_channels
        self.fc = MMPRETRAIN_MODELS.build(dict(in_features=in_channels, out_features=num_classes, **classifier))
        self.init_class_distribution(class_counts, num_classes)
        check_losses_fit(self)

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Logits (N, C) of the last stage's features (N, D)."""
        return self.fc(self.pre_logits(feats))

    def targets(self, data_samples: Sequence[DataSample]) -> Tensor:
        """The labels of a batch, (N, C): 1 positive, 0 negative, -1 unknown.

        Raises:
            ValueError: a ``gt_label`` outside [0, C), or a ``gt_score`` of another length than C.
        """
        self._check_classes(data_samples)
        targets = [
            sample.gt_score if 'gt_score' in sample else label_to_onehot(sample.gt_label, self.num_classes)
            for sample in data_samples
        ]
        return torch.stack([target.float() for target in targets])

    def _check_classes(self, data_samples: Sequence[DataSample]) -> None:
        """Refuse labels of other classes than the head has; a device synchronisation where some are indices."""
        name, num_classes = type(self).__name__, self.num_classes
        for i, sample in enumerate(data_samples):
            if 'gt_score' in sample and sample.gt_score.shape != (num_classes,):
                raise ValueError(
                    f'{name}: expected `gt_score` of {num_classes} classes, as the head has, but image {i} of the '
                    f'batch has shape {tuple(sample.gt_score.shape)}. Set `num_classes` to the number in the data.'
                )
        labels = {i: sample.gt_label for i, sample in enumerate(data_samples) if 'gt_score' not in sample}
        label = torch.cat(list(labels.values())) if labels else torch.zeros(0)
        outside = label[(label < 0) | (label >= num_classes)].tolist()
        if outside:
            i = next(i for i, of_image in labels.items() if outside[0] in of_image)
            raise ValueError(
                f'{name}: expected `gt_label` in [0, {num_classes}), the classes of the head, but image {i} of the '
                f'batch has {outside[0]}. Set `num_classes` to the number in the data.'
            )

    def _get_loss(self, cls_score: Tensor, data_samples: Sequence[DataSample], **kwargs) -> dict[str, Tensor]:
        target = self.targets(data_samples)
        if not isinstance(self.loss_module, MultiLabelLoss):
            check_targets(target, accepts_unknown=False, name=type(self.loss_module).__name__)
        return dict(loss=self.loss_module(cls_score, target, avg_factor=len(cls_score), **kwargs))
