"""COMIC: three branches that learn together from partial labels with a long tail."""

from typing import Any

from mmengine.model import ModuleDict
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor

from ltmm.models.heads.comic_head import BRANCHES, COMICHead
from ltmm.registry import MODELS

__all__ = ['COMIC']


@MODELS.register_module()
class COMIC(ImageClassifier):
    """Trains a branch for the head, one for the tail and one for both in each step, and predicts with the last.

    Each branch has a backbone, a neck and a classifier, ``backbone.tail``, ``neck.tail`` and ``head.fc.tail``, whose
    learning rates ``paramwise_cfg`` tells apart. Branches learn by their own losses alone, as in [1], which has an
    optimizer for each. A shared backbone learns from all three; one that is frozen does what three frozen ones do, in a
    third of the time.

    [0] Zhang et al., Learning in Imperfect Environment: Multi-Label Classification with Long-Tailed Distribution and
        Partial Labels, ICCV 2023, arXiv 2304.10539.
    [1] github.com/wannature/COMIC @1de14e5, which does not run as published. Followed are its losses, classifiers and
        the older BalancedlNetwork_test.py, in which all branches see the same images and the attention is trained; the
        head-tail balancer, commented out in [1], is that of [0].

    Args:
        backbone: of each branch, as a dictionary.
        head: an :class:`~ltmm.models.heads.COMICHead`.
        neck: of each branch, as a dictionary, such as ``'ltmm.FeatureProjection'``.
        shared_backbone: one backbone for the three branches.
        **kwargs: pretrained, train_cfg, data_preprocessor and init_cfg of mmpretrain's ``ImageClassifier``.

    Raises:
        TypeError: another head.
    """

    def __init__(
        self, backbone: dict, head: dict, neck: dict | None = None, shared_backbone: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(
            backbone=MMPRETRAIN_MODELS.build(backbone) if shared_backbone else _per_branch(backbone),
            neck=None if neck is None else _per_branch(neck),
            head=head,
            **kwargs,
        )
        self.shared_backbone = shared_backbone
        if not isinstance(self.head, COMICHead):
            raise TypeError(f"COMIC needs head=dict(type='ltmm.COMICHead', ...), but got {type(self.head).__name__}.")

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> dict[str, tuple[Tensor, ...]] | Tensor:
        """The features of each branch.

        Args:
            inputs: images, (N, C, H, W).
            stage: ``'backbone'`` or ``'neck'``; ``'pre_logits'`` gives what the balanced classifier sees, (N, D).

        Raises:
            ValueError: another stage.
        """
        if stage not in ('backbone', 'neck', 'pre_logits'):
            raise ValueError(f"Expected `stage` to be 'backbone', 'neck' or 'pre_logits', but got {stage!r}.")
        if self.shared_backbone:
            feats = dict.fromkeys(BRANCHES, self.backbone(inputs))
        else:
            feats = {branch: self.backbone[branch](inputs) for branch in BRANCHES}
        if stage != 'backbone' and self.with_neck:
            feats = {branch: self.neck[branch](feats[branch]) for branch in BRANCHES}
        return self.head.pre_logits(feats) if stage == 'pre_logits' else feats


def _per_branch(cfg: dict) -> ModuleDict:
    return ModuleDict({branch: MMPRETRAIN_MODELS.build(cfg) for branch in BRANCHES})
