"""A new classifier that predicts together with an old one."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.registry import MODELS
from ltmm.utils.checks import check

__all__ = ['ClassifierEnsemble', 'ensemble_logits']


def ensemble_logits(new: Tensor, old: Tensor, new_temperature: float, old_temperature: float) -> Tensor:
    r"""Compute :math:`\log \frac{1}{2} \big(\mathrm{softmax}(z / t_1) + \mathrm{softmax}(z' / t_2)\big)`, (N, C).

    Args:
        new: z, (N, C).
        old: z', (N, C).
        new_temperature: t1; a large one leaves the prediction to the other classifier.
        old_temperature: t2.
    """
    log_probs = F.log_softmax(new / new_temperature, 1), F.log_softmax(old / old_temperature, 1)
    return torch.logaddexp(*log_probs) - math.log(2)


@MODELS.register_module()
class ClassifierEnsemble(nn.Module):
    """Trains a new classifier, which helps rare classes, and predicts the mean of it and of the old one.

    The second stage of GML: load ``backbone``, and ``head.fc`` as ``head.fc.old``, and freeze both. The batch
    normalization of the backbone must not change either, or the old classifier sees features that it does not know::

        dict(type='ltmm.LoadPartsHook', prefixes=['backbone'], rename={'head.fc': 'head.fc.old'}),
        dict(type='ltmm.FreezeHook', prefixes=['backbone', 'head.fc.old'], norm_eval=True)

    In training the logits are those of the new classifier, in evaluation the log of the mean probabilities. Another
    choice of the temperatures needs no training: ``--cfg-options model.head.classifier.old_temperature=2``.

    References:
        [0] Du and Wu, No One Left Behind: Improving the Worst Categories in Long-Tailed Learning, CVPR 2023,
            arXiv 2303.03630. Reproduces its ensemble (tests/conformance, ``trajectory_gml``).

    Args:
        in_features: D.
        out_features: C.
        new: New classifier, a layer from (N, D) to (N, C); built with ``in_features`` and ``out_features``.
        old: Old classifier, the same.
        new_temperature: t1, see :func:`ensemble_logits`.
        old_temperature: t2.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        new: dict = dict(type='ltmm.Linear'),
        old: dict = dict(type='ltmm.Linear'),
        new_temperature: float = 1.0,
        old_temperature: float = 1.0,
    ) -> None:
        super().__init__()
        check(new_temperature=(new_temperature, '> 0'), old_temperature=(old_temperature, '> 0'))
        self.new_temperature, self.old_temperature = new_temperature, old_temperature
        size = dict(in_features=in_features, out_features=out_features)
        self.new, self.old = MODELS.build(dict(new, **size)), MODELS.build(dict(old, **size))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (N, C) of features (N, D)."""
        new = self.new(x)
        if self.training:
            return new
        dtype = torch.promote_types(new.dtype, torch.float32)
        return ensemble_logits(new.to(dtype), self.old(x).to(dtype), self.new_temperature, self.old_temperature)

    def extra_repr(self) -> str:
        return f'new_temperature={self.new_temperature}, old_temperature={self.old_temperature}'
