"""Meta sampler of BALMS: learn how often to draw each class, by what it does to a balanced set."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, Runner
from torch import Tensor
from torch.func import functional_call

from ltmm.datasets.samplers.meta_sampler import MetaSampler
from ltmm.engine.runner.model_outputs import features_and_labels
from ltmm.models.heads.long_tail_cls_head import LongTailClsHead
from ltmm.models.losses.base import weighted_mean
from ltmm.models.losses.objective import Objective
from ltmm.models.state.base import gather_rows
from ltmm.models.state.class_rates import ClassRates, initial_rate_logits
from ltmm.registry import HOOKS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError
from ltmm.utils.loaders import endless
from ltmm.utils.wrappers import unwrap_model

from .meta_batch_hook import build_meta_loader

__all__ = ['MetaSamplerHook', 'drawn_share', 'look_ahead', 'meta_loss']


def drawn_share(rate_logits: Tensor, label: Tensor, noise: Tensor, class_noise: Tensor) -> Tensor:
    r"""Compute the Gumbel-softmax of the drawn sample among all samples, (B,).

    .. math:: \frac{r_{y_b} e^{g_b}}{\sum_i r_{y_i} e^{g_i}}, \qquad r_c = \sigma(v_c)

    Args:
        rate_logits: v, (C,).
        label: Class of each drawn sample, (B,).
        noise: g of each drawn sample, (B,).
        class_noise: Log of the sum of exp(g) over the samples of each class, (B, C).
    """
    log_rate = F.logsigmoid(rate_logits)
    return (log_rate[label] + noise - torch.logsumexp(log_rate + class_noise, dim=1)).exp()


def look_ahead(
    optimizer: torch.optim.SGD, parameters: Mapping[str, Tensor], gradients: tuple[Tensor, ...]
) -> dict[str, Tensor]:
    """Return the parameters after the next step of the optimizer, as a differentiable function of their gradients."""
    groups = {parameter: group for group in optimizer.param_groups for parameter in group['params']}
    after = {}
    for (name, parameter), gradient in zip(parameters.items(), gradients):
        group = groups[parameter]
        step = gradient + group['weight_decay'] * parameter
        if group['momentum']:
            buffer = optimizer.state.get(parameter, {}).get('momentum_buffer')
            buffer = step if buffer is None else group['momentum'] * buffer + (1 - group['dampening']) * step
            step = step + group['momentum'] * buffer if group['nesterov'] else buffer
        after[name] = parameter - group['lr'] * step
    return after


def meta_loss(
    head: LongTailClsHead,
    optimizer: torch.optim.SGD,
    rate_logits: Tensor,
    draws: tuple[Tensor, Tensor, Tensor],
    features: Tensor,
    label: Tensor,
    meta_features: Tensor,
    meta_label: Tensor,
) -> Tensor:
    """Compute the cross entropy on the meta batch after one step of the classifier on the drawn batch.

    The draws are straight-through: each sample weighs 1, with the gradient of its :func:`drawn_share`. The classifier
    stays as it is.

    Args:
        head: Classifier with a loss of logits and labels that has a value per image, see :func:`weighted_mean`.
        optimizer: Of the classifier, among others.
        rate_logits: (C,).
        draws: Arguments of :func:`drawn_share` beside the rates.
        features, label: The drawn batch, (B, D) and (B,).
        meta_features, meta_label: The meta batch, (M, D) and (M,).
    """
    parameters = {name: parameter for name, parameter in head.named_parameters() if parameter.requires_grad}
    share = drawn_share(rate_logits, *draws)
    weight = (1 + share - share.detach()).to(features.dtype)  # (B,)
    logits = functional_call(head, parameters, ((features,),))
    loss = weighted_mean(head.loss_module, logits, label, weight)
    gradients = torch.autograd.grad(loss, [*parameters.values()], create_graph=True)
    logits = functional_call(head, look_ahead(optimizer, parameters, gradients), ((meta_features,),))
    return F.cross_entropy(head.cosine_scale * logits, meta_label)


@HOOKS.register_module()
class MetaSamplerHook(Hook):
    """Learns the class rates of :class:`ltmm.datasets.MetaSampler`: classes are drawn as often as helps all equally.

    Before each iteration, the classifier takes a step on the drawn batch, as SGD would with its present momentum. The
    cross entropy of the result on a class-balanced meta batch is differentiated by the rates, for a step of Adam. Then
    the iteration follows, from the classifier before. A backbone in training mode sees the drawn batch twice and the
    meta batch once, so batch-norm statistics move three times, as in [1]. All ranks learn the rates from the batches of
    all; the rates are saved with the model.

    References:
        [0] Ren et al., Balanced Meta-Softmax for Long-Tailed Visual Recognition, NeurIPS 2020, arXiv 2007.10740.
        [1] github.com/jiawei-ren/BalancedMetaSoftmax-Classification @34a61e4, meta_forward. This implementation
            reproduces [1] to 1e-6 (tests/conformance, ``balms_meta_sampler`` and ``trajectory_balms``).

    Args:
        lr: Learning rate of the rates.
        init_power: p in the initial rates, which are proportional to (class frequency)^-p and symmetric around 1/2: 0
            for CIFAR-LT, 0.1 for ImageNet-LT, 0.3 for Places-LT.
        dataloader: Config of the loader of meta batches, see :func:`build_meta_loader`.
    """

    def __init__(self, lr: float = 0.01, init_power: float = 0.0, dataloader: dict | None = None) -> None:
        check(lr=(lr, '> 0'), init_power=(init_power, '>= 0'))
        self.lr, self.init_power, self.dataloader = lr, init_power, dataloader

    def before_run(self, runner: Runner) -> None:
        """Add the rates to the model, before a checkpoint is loaded; a test only loads them."""
        model = unwrap_model(runner.model)
        head = model.head
        if not isinstance(head, LongTailClsHead) or isinstance(head.loss_module, Objective):
            raise InputTypeError(
                'MetaSamplerHook needs a LongTailClsHead with a loss of logits and labels, but got '
                f'{type(head).__name__} with {type(getattr(head, "loss_module", None)).__name__}.'
            )
        self.rates = ClassRates(head.num_classes, self.lr).to(next(head.parameters()).device)
        model.add_module('class_rates', self.rates)
        if not isinstance(runner._train_loop, BaseLoop):
            return
        optimizer, self.sampler = runner.optim_wrapper.optimizer, runner.train_dataloader.sampler
        if not isinstance(self.sampler, MetaSampler) or not isinstance(runner.train_loop, EpochBasedTrainLoop):
            raise InputTypeError(
                "MetaSamplerHook needs train_dataloader.sampler.type='ltmm.MetaSampler' in training by epochs, but got "
                f'{type(self.sampler).__name__} in {type(runner.train_loop).__name__}.'
            )
        if not isinstance(optimizer, torch.optim.SGD):
            raise InputTypeError(
                f'MetaSamplerHook looks ahead by SGD, but the optimizer is {type(optimizer).__name__}.'
            )
        logits = initial_rate_logits(self.sampler.table.class_distribution(), self.init_power)
        self.rates.logits.copy_(torch.from_numpy(logits))

    def before_train(self, runner: Runner) -> None:
        """Build the meta loader, with the seed that a resumed run has by now."""
        self.loader = build_meta_loader(runner, self.sampler.table.class_distribution(), self.dataloader)
        self._hand_out()

    def before_train_epoch(self, runner: Runner) -> None:
        self.meta_batches = endless(self.loader, runner.epoch)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Learn the rates, before the iteration."""
        head, device = unwrap_model(runner.model).head, self.rates.logits.device
        features, label = _features(runner, data_batch)
        draws = [torch.from_numpy(array).to(device) for array in self.sampler.take_draws(len(label))]
        features, label, *draws = gather_rows(features, label, *draws)
        meta_features, meta_label = gather_rows(*_features(runner, next(self.meta_batches)))
        rate_logits = self.rates.logits.clone().requires_grad_()
        optimizer = runner.optim_wrapper.optimizer
        loss = meta_loss(head, optimizer, rate_logits, draws, features, label, meta_features, meta_label)
        self.rates.update(*torch.autograd.grad(loss, rate_logits))
        self._hand_out()
        runner.message_hub.update_scalar('train/meta_loss', loss.detach())

    def _hand_out(self) -> None:
        self.sampler.rate = self.rates.logits.sigmoid().cpu().numpy()


@torch.no_grad()
def _features(runner: Runner, batch: Any) -> tuple[Tensor, Tensor]:
    """Run the backbone in its present mode: features (N, D) and labels (N,)."""
    model = unwrap_model(runner.model)
    data = model.data_preprocessor(batch, True)
    with runner.optim_wrapper.optim_context(runner.model):
        stages = model.extract_feat(data['inputs'])
    return features_and_labels(model.head, stages, data['data_samples'])
