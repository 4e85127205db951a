"""SupCon: supervised contrastive learning."""

from typing import Any

from torch import Tensor

from ltmm.registry import MODELS
from ltmm.utils.checks import check

from .supervised_contrast import Contrast, SupervisedContrast, supervised_contrast

__all__ = ['SupConLoss']


@MODELS.register_module()
class SupConLoss(SupervisedContrast):
    r"""Pulls images of a class together and all others apart, which frequent classes, with more positives, dominate.

    .. math:: \ell_i = -\frac{T}{T_b} \frac{1}{|P_i|} \sum_{p \in P_i} \log \frac{e^{z_i \cdot z_p / T}}
        {\sum_{k \ne i} e^{z_i \cdot z_k / T}}

    P_i are all other views of images of the class of i, in the batches of all ranks, or in the queue beside the own
    key. It is the baseline of ``ltmm.KCLLoss`` and ``ltmm.SubclassBalancedContrastiveLoss``.

    References:
        [0] Khosla et al., Supervised Contrastive Learning, NeurIPS 2020, arXiv 2004.11362.
        [1] github.com/JackHck/SBCL @3b9047a, ``SupConLoss``, the warm-up of SBCL. Reproduces [1] to 1e-6
            (tests/conformance, ``sbcl`` and ``trajectory_sbcl``).

    Args:
        temperature: T; 0.1 in [0] and [1].
        base_temperature: T_b, of a constant factor of the loss. None: T, no factor, as in [1]; the code of [0] has
            0.07.
        **kwargs: Arguments of :class:`SupervisedContrast`.
    """

    def __init__(self, *, temperature: float = 0.1, base_temperature: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        base_temperature = temperature if base_temperature is None else base_temperature
        check(temperature=(temperature, '> 0'), base_temperature=(base_temperature, '> 0'))
        self.temperature, self.base_temperature = temperature, base_temperature

    def losses(self, contrast: Contrast) -> dict[str, Tensor]:
        loss = supervised_contrast(contrast.cosine / self.temperature, contrast.same_class, contrast.is_candidate)
        return dict(loss_contrastive=self.temperature / self.base_temperature * loss)

    def extra_repr(self) -> str:
        return f'temperature={self.temperature}, base_temperature={self.base_temperature}'
