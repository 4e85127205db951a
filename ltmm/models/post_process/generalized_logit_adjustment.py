"""Generalized logit adjustment (GLA): join a fine-tuned and a zero-shot model, each freed of its prior."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError

from .base import PostProcess
from .lbfgs import minimize
from .logit_adjustment import prior_offset
from .logit_files import read_logits
from .search import uses_sigmoid
from .temperature_scaling import bounded_temperature, fit_temperature, temperature_start

__all__ = ['GeneralizedLogitAdjustment', 'estimate_prior', 'generalized_logit_adjustment']


def estimate_prior(logits: Tensor, label: Tensor) -> Tensor:
    r"""Return the class prior that the logits of a model follow, such as that of its pre-training data, (C,).

    .. math:: q = \arg\min_{q \in \Delta} \frac1N \sum_i -\log \mathrm{softmax}(z_i - \log q + \log \hat\pi)_{y_i}

    :math:`\hat\pi` is the class mix of these samples, so they need not be balanced; for balanced ones it cancels. With
    q a softmax the problem is convex, and L-BFGS solves it. A class without samples has the geometric mean of the
    others.

    Args:
        logits: Calibrated logits z, of samples that the model has not seen, (N, C).
        label: Class indices, (N,).
    """
    return prior_and_temperature(logits, label, 1.0)[0]


def prior_and_temperature(logits: Tensor, label: Tensor, temperature: float | None = None) -> tuple[Tensor, float]:
    """Return the prior, see :func:`estimate_prior`, and the temperature, which is estimated with it unless given.

    Args:
        logits: Logits, divided by the temperature here, (N, C).
        label: Class indices, (N,).
        temperature: The temperature. Default: the best in (0.05, 5) together with the prior.
    """
    count = label.bincount(minlength=logits.size(1))
    present = count > 0
    z, log_mix = logits.double()[:, present], count[present].double().log()
    y = (present.cumsum(0) - 1)[label]

    def nll(x: Tensor) -> Tensor:
        scaled = z / (bounded_temperature(x[0]) if temperature is None else temperature)
        return F.cross_entropy(scaled - x[1:] + log_mix, y)

    found = minimize(nll, torch.cat([temperature_start()[None], torch.zeros(z.size(1))]))
    log_q = torch.zeros(logits.size(1), dtype=torch.float64)
    log_q[present] = found[1:] - found[1:].mean()
    return log_q.softmax(0), float(bounded_temperature(found[0])) if temperature is None else temperature


def generalized_logit_adjustment(
    fine_tuned: Tensor, zero_shot: Tensor, log_train_prior: Tensor | float, log_zero_shot_prior: Tensor
) -> Tensor:
    r"""Compute :math:`z^{ft} - \log p + z^{zs} - \log q`, (N, C).

    Args:
        fine_tuned: Calibrated logits of the fine-tuned model, (N, C).
        zero_shot: Calibrated logits of the zero-shot model, (N, C).
        log_train_prior: log p, (C,); 0 for a model that was trained with adjusted logits.
        log_zero_shot_prior: log q, (C,).
    """
    return fine_tuned - log_train_prior + zero_shot - log_zero_shot_prior


@MODELS.register_module()
class GeneralizedLogitAdjustment(UsesClassDistribution, PostProcess):
    r"""Adds the logits of a zero-shot model, without the bias of either model to its frequent classes.

    .. math:: z = z^{ft} / T_{ft} - \log p + z^{zs} / T_{zs} - \log q

    p is the training prior, q that of the pre-training of the zero-shot model, such as CLIP, see
    :func:`estimate_prior`. Each temperature minimizes the negative log-likelihood of the validation split for a model
    freed of its prior. A model whose loss or sampler has balanced the classes has :math:`\log p` in its logits
    already, so it is not subtracted.

    The zero-shot model comes as files of logits, which no checkpoint can hold: the result are the predictions for the
    test set, see :func:`~ltmm.models.post_process.logit_files.read_logits` for both.

    References:
        [0] Zhu et al., Generalized Logit Adjustment: Calibrating Fine-tuned Models by Removing Label Bias in
            Foundation Models, NeurIPS 2023, arXiv 2310.08106.
        [1] github.com/BeierZhu/GLA @efbcd60: log q by projected gradient descent, temperatures by the mean confidence.

    Args:
        zero_shot: Files of its logits for the ``val`` and ``test`` images, in the order of the datasets.
        subtracts_prior: Whether to subtract log p. Default: yes, but ``tools/post_process.py`` decides by
            loss and sampler of the model.
        class_counts: Training images per class, see :meth:`ltmm.ClassDistribution.build`. Default: taken from the
            checkpoint.
    """

    needs_fit = True
    processor = 'ltmm.GLAPostProcessor'

    def __init__(
        self,
        zero_shot: Mapping[str, str],
        subtracts_prior: bool | None = None,
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
    ) -> None:
        super().__init__()
        if set(zero_shot) != {'val', 'test'}:
            raise InputError(f'Expected `zero_shot` to be dict(val=FILE, test=FILE), but got {zero_shot}.')
        check(subtracts_prior=(subtracts_prior, (True, False, None)))
        self.zero_shot, self.subtracts_prior = dict(zero_shot), subtracts_prior
        self.temperature = self.zero_shot_temperature = 1.0
        self.zero_shot_prior: Tensor | None = None
        self._class_counts = class_counts
        self.init_class_distribution(class_counts)

    def check(self, head: nn.Module) -> None:
        if uses_sigmoid(head):
            raise InputTypeError(f'{type(self).__name__} is for a softmax, but the loss of this head uses sigmoids.')

    def attach(self, head: nn.Module) -> None:
        raise InputTypeError(
            'GeneralizedLogitAdjustment needs the logits of another model for each image: use '
            'tools/post_process.py --method gla, not a hook.'
        )

    def log_train_prior(self) -> Tensor | float:
        """Log of the training prior, (C,), 0 for a class without training images; or 0 for a balanced model."""
        if self.subtracts_prior is False:
            return 0.0
        return prior_offset(torch.from_numpy(self.get_class_distribution().prior), 1.0, 0.0)

    def fit(self, train: Any, val: Any) -> None:
        """Estimate temperatures and prior on the validation split."""
        label, num_classes = val.label, val.num_classes
        zero_shot = read_logits(self.zero_shot['val'], label, num_classes)
        log_mix = label.bincount(minlength=num_classes).double().log()  # -inf drops a class without images
        self.temperature = fit_temperature(val.logits, label, offset=log_mix - self.log_train_prior())
        self.zero_shot_prior, self.zero_shot_temperature = prior_and_temperature(zero_shot, label)

    def combine(self, fine_tuned: Tensor, zero_shot: Tensor) -> Tensor:
        """Logits of both models, (N, C) each, joined, (N, C)."""
        return generalized_logit_adjustment(
            fine_tuned.double() / self.temperature,
            zero_shot.double() / self.zero_shot_temperature,
            self.log_train_prior(),
            self.zero_shot_prior.log(),
        )

    def settings(self) -> Mapping[str, Any]:
        counts = {} if self._class_counts is None else dict(class_counts=self._class_counts)
        return dict(zero_shot=self.zero_shot, subtracts_prior=self.subtracts_prior, **counts)
