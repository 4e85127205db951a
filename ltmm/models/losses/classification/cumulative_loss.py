"""Cumulative learning of two classifiers, as in GLMC: first by the images as they are, later balanced over classes."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.layers.two_branch_linear import TwoBranchLinear
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.models.state.progress import UsesProgress
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError

from ..base import divisor
from ..functional import smooth_labels
from ..objective import LossInputs, Objective
from .adjusted_ce_loss import adjusted_cross_entropy

__all__ = ['CumulativeLoss', 'uniform_share']


def uniform_share(epoch: int, max_epochs: int) -> float:
    """Return the share of the uniform classifier in the loss: 1 in epoch 0, then falling to almost 0."""
    return 1 - (epoch / max_epochs) ** 2


@MODELS.register_module()
class CumulativeLoss(UsesClassDistribution, UsesProgress, Objective):
    r"""Lets frequent classes shape the features first, and moves to a classifier in which rare classes count more.

    .. math::
        \sum_v \Big[ \alpha \, \mathrm{CE}(u_v, y)
        - (1 - \alpha) \sum_c w_c \, y_c \log \mathrm{softmax}(z_v + \tau \log \pi)_c \Big], \qquad
        \alpha = 1 - (t / T)^2, \quad w_c \propto n_c^{-k}

    u and z are the logits of ``uniform`` and of the layer that predicts, of ``classifier=dict(type=
    'ltmm.TwoBranchLinear')``, for view v; the weights have mean 1 over the classes, t is the epoch of T. Labels may be
    soft; the weights apply class by class, and are not normalized by image: with k = 1.2, their mean over the images of
    CIFAR100-LT is 0.16. The layer that predicts hence learns slowly, and most while the learning rate is low already.
    After 12 epochs in place of the 200 of [1], it is close to its random weights and answers with rare classes.

    For GLMC put it beside ``ltmm.ViewConsistencyLoss`` in ``aux_losses``, with ``ltmm.PerViewClassifier`` and
    ``ltmm.GlobalLocalMix``; see ``configs/cifar100_lt/glmc_r32.py``.

    References:
        [0] Du et al., Global and Local Mixture Consistency Cumulative Learning for Long-tailed Visual Recognitions,
            CVPR 2023, arXiv 2305.08661.
        [1] github.com/ynu-yangpeng/GLMC @2c0261c. Reproduces [1] to 1e-6 (tests/conformance, ``glmc`` and
            ``trajectory_glmc``).

    Args:
        power: k, of the weights; 1.0 to 1.2 in [1]. 0 weights all classes alike.
        tau: Strength of the prior in the loss of the layer that predicts: ``power=0, tau=1`` is balanced softmax,
            GLMC + BS of [0], which [1] lacks.
        class_counts: Training images per class. Default: taken from the training data.
    """

    requires = ('cls_score', 'features', 'classifier')
    balances_classes = True
    reweights = True

    def __init__(
        self,
        *,
        power: float = 1.2,
        tau: float = 0.0,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__()
        check(power=(power, '>= 0'), tau=(tau, '>= 0'))
        self.power, self.tau = power, tau
        self.init_class_distribution(class_counts)

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        self.register_derived('class_weight', distribution.weights('inverse', power=self.power))
        if self.tau:
            self.register_derived('offset', self.tau * distribution.log_prior)

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        logits = inputs.cls_score  # (V N, C)
        label = inputs.per_view(smooth_labels(inputs.label, 0.0, like=logits))  # (V N, C)
        offset = self.offset.to(logits) if self.tau else None
        uniform = F.cross_entropy(inputs.classifier.uniform(inputs.features), label, reduction='none')
        balanced = adjusted_cross_entropy(logits, self.class_weight.to(logits) * label, offset=offset)
        share, num = uniform_share(self.epoch, self.max_epochs), divisor(len(inputs.label), logits)
        return dict(loss_uniform=share * uniform.sum() / num, loss_balanced=(1 - share) * balanced.sum() / num)

    def _check(self, inputs: LossInputs) -> None:
        self.check_logits(inputs.cls_score)
        if not isinstance(inputs.classifier, TwoBranchLinear):
            raise InputTypeError(
                "CumulativeLoss needs classifier=dict(type='ltmm.TwoBranchLinear'), but got "
                f'{type(inputs.classifier).__name__}.'
            )

    def extra_repr(self) -> str:
        return f'power={self.power}, tau={self.tau}'
