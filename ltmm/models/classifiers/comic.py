"""COMIC: three branches for long-tailed multi-label classification with partial labels."""

from typing import Any

from mmengine.model import ModuleDict
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor

from ltmm.models.heads.comic_head import BRANCHES, COMICHead
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError

__all__ = ['COMIC']


@MODELS.register_module()
class COMIC(ImageClassifier):
    """Classifier with a branch for head classes, one for tail classes and a balanced one, which predicts.

    Each branch has a backbone, a neck and a classifier, such as ``backbone.tail``, ``neck.tail`` and ``head.fc.tail``;
    set their learning rates in ``paramwise_cfg``. A branch gets gradients from its own losses only, as in [1], which
    has an optimizer per branch. A shared backbone gets those of all three; if it is frozen, it equals three frozen
    backbones at a third of the time.

    [0] Zhang et al., Learning in Imperfect Environment: Multi-Label Classification with Long-Tailed Distribution and
        Partial Labels, ICCV 2023, arXiv 2304.10539.
    [1] github.com/wannature/COMIC @1de14e5. Reproduces its parts to 1e-6 (tests/conformance, ``comic_*``), and
        trainings of them in this assembly (``trajectory_comic``).

    Neither published training pass of [1] (BalancedlNetwork.py, BalancedlNetwork_test.py) runs as it stands. Ours puts
    the parts together as [0] does: modifier and 0.2 times the corrector in each branch, attention and head-tail
    balancer in the balanced one, the same images for all. The keys of the attention carry no gradient, so that each
    branch learns by its own losses. Both passes have the attention commented out, and the balancer; one has two of the
    correctors commented out, and BalancedlNetwork.py adds ``irm_loss``, the mean of the three modifiers. That is
    ``head=dict(attention=None, balancer=None, irm_weight=1.0, corrected_branches=[...])``. BalancedlNetwork.py also
    draws different images for each branch, which is not offered.

    Args:
        backbone: Config of the backbone of a branch.
        head: Config of a :class:`~ltmm.models.heads.COMICHead`.
        neck: Config of the neck of a branch, such as ``'ltmm.FeatureProjection'``.
        shared_backbone: Use one backbone for the three branches.
        **kwargs: Further arguments of mmpretrain's ``ImageClassifier``.
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
            raise InputTypeError(
                f"COMIC needs head=dict(type='ltmm.COMICHead', ...), but got {type(self.head).__name__}."
            )

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> dict[str, tuple[Tensor, ...]] | Tensor:
        """Return the features of each branch.

        Args:
            inputs: Images, (N, C, H, W).
            stage: ``'backbone'`` or ``'neck'``; ``'pre_logits'`` for the input of the balanced classifier, (N, D).
        """
        check(stage=(stage, ('backbone', 'neck', 'pre_logits')))
        if self.shared_backbone:
            feats = dict.fromkeys(BRANCHES, self.backbone(inputs))
        else:
            feats = {branch: self.backbone[branch](inputs) for branch in BRANCHES}
        if stage != 'backbone' and self.with_neck:
            feats = {branch: self.neck[branch](feats[branch]) for branch in BRANCHES}
        return self.head.pre_logits(feats) if stage == 'pre_logits' else feats


def _per_branch(cfg: dict) -> ModuleDict:
    return ModuleDict({branch: MMPRETRAIN_MODELS.build(cfg) for branch in BRANCHES})
