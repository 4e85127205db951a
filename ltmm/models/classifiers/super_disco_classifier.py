"""Meta-training of SuperDisco: what super-classes are is learned on a class-balanced set."""

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor

from ltmm.models.heads.long_tail_cls_head import LongTailClsHead
from ltmm.models.necks.super_class_graph import SuperClassGraph
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputTypeError, MissingInputError

__all__ = ['SuperDiscoClassifier', 'class_prototypes', 'prototype_loss']


def class_prototypes(features: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Average the features of each class of the batch: prototypes, (P, D), and the row of each image in them, (N,).

    Args:
        features: (N, D).
        label: Class indices, (N,).
    """
    classes, row = label.unique(return_inverse=True)
    one_hot = F.one_hot(row, len(classes)).to(features)  # (N, P)
    return one_hot.T @ features / one_hot.sum(0).unsqueeze(1), row


def prototype_loss(features: Tensor, prototypes: Tensor, target: Tensor) -> Tensor:
    r"""Cross entropy of images told apart by their prototypes, with logits :math:`-\|z_i - c_j\|^2 / 2 \sqrt D`.

    Args:
        features: z, (N, D).
        prototypes: c, (P, D).
        target: Prototype of each image, (N,).
    """
    distance = torch.cdist(features, prototypes).square() / (2 * features.shape[1] ** 0.5)
    return F.cross_entropy(-distance, target)


@MODELS.register_module()
class SuperDiscoClassifier(ImageClassifier):
    r"""Trains a :class:`SuperClassGraph` by what it does for all classes alike, the network by the tail.

    Each iteration: the network :math:`\theta` (all but the graph :math:`\varphi`) takes a step of SGD on the batch, for
    the sake of looking ahead; the graph learns from a class-balanced batch :math:`\tilde B` behind that step, by cross
    entropy and by prototypes, the class means, refined in a graph of their own that is joined to the super-classes:

    .. math::
        \theta' = \theta - \eta \nabla_\theta L_B(\theta, \varphi), \qquad
        L_{meta}(\varphi) = \mathrm{CE}_{\tilde B}(\theta', \varphi) + \lambda L_{prototype}(\theta', \varphi)

    and :math:`\theta` from :math:`L_B`, both in one step of the optimizer. The look-ahead is of first order: its
    gradient is not differentiated again. Batch-norm statistics move by the batch only. With several ranks, each looks
    ahead on its own batch. :class:`ltmm.engine.MetaBatchHook` hands over :math:`\tilde B`.

    **Unverified against the authors** [0], who have published no code: a reconstruction, see :class:`SuperClassGraph`.

    References:
        [0] Du et al., SuperDisco: Super-Class Discovery Improves Visual Recognition for the Long-Tail, CVPR 2023,
            arXiv 2304.00101.

    Args:
        *args: Of mmpretrain's ``ImageClassifier``. The neck has to have one ``ltmm.SuperClassGraph``, as its last
            part; the head has to be an ``ltmm.LongTailClsHead``.
        inner_lr: :math:`\eta`.
        prototype_weight: :math:`\lambda`.
        **kwargs: Of mmpretrain's ``ImageClassifier``.
    """

    def __init__(self, *args: Any, inner_lr: float = 0.01, prototype_weight: float = 1.0, **kwargs: Any) -> None:
        check(inner_lr=(inner_lr, '> 0'), prototype_weight=(prototype_weight, '>= 0'))
        super().__init__(*args, **kwargs)
        parts = [module for module in self.modules() if isinstance(module, SuperClassGraph)]
        if len(parts) != 1 or not isinstance(self.head, LongTailClsHead):
            raise InputTypeError(
                'SuperDiscoClassifier needs one ltmm.SuperClassGraph as neck and an ltmm.LongTailClsHead, but got '
                f'{len(parts)} of them and {type(self.head).__name__}.'
            )
        self.inner_lr, self.prototype_weight = inner_lr, prototype_weight
        self._meta_batch: tuple[Tensor, list[DataSample]] | None = None

    @property
    def graph(self) -> SuperClassGraph:
        """The graph of super-classes."""
        return next(module for module in self.modules() if isinstance(module, SuperClassGraph))

    def set_meta_batch(self, data: dict) -> None:
        """Take the class-balanced batch of the next iteration, as the loader gives it."""
        data = self.data_preprocessor(data, True)
        self._meta_batch = data['inputs'], data['data_samples']

    def forward(self, inputs: Tensor, data_samples: list[DataSample] | None = None, mode: str = 'tensor') -> Any:
        """As mmpretrain, with two more modes: ``'batch_loss'`` and ``'meta_loss'``."""
        if mode == 'batch_loss':
            return super().loss(inputs, data_samples)
        if mode == 'meta_loss':
            return self._meta_loss(inputs, data_samples)
        return super().forward(inputs, data_samples, mode)

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        if self._meta_batch is None:
            raise MissingInputError("SuperDiscoClassifier needs custom_hooks=[dict(type='ltmm.MetaBatchHook')].")
        parameters = {name: p for name, p in self.named_parameters() if p.requires_grad}
        of_graph = {id(p) for p in self.graph.parameters()}
        graph = {name: p for name, p in parameters.items() if id(p) in of_graph}
        network = {name: p for name, p in parameters.items() if id(p) not in of_graph}
        fixed_graph = {name: p.detach() for name, p in graph.items()}
        losses = torch.func.functional_call(self, fixed_graph, (inputs, data_samples, 'batch_loss'))
        total, _ = self.parse_losses(losses)
        gradients = torch.autograd.grad(total, [*network.values()], retain_graph=True, allow_unused=True)
        ahead = {
            name: p.detach() if gradient is None else p.detach() - self.inner_lr * gradient
            for (name, p), gradient in zip(network.items(), gradients)
        }
        buffers = {name: buffer.clone() for name, buffer in self.named_buffers()}
        meta_batch, self._meta_batch = self._meta_batch, None
        return losses | torch.func.functional_call(self, graph | ahead | buffers, (*meta_batch, 'meta_loss'))

    def _meta_loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        inputs = self.head.loss_inputs(self.extract_feat(inputs), data_samples)
        losses = dict(loss_meta=F.cross_entropy(self.head.cosine_scale * inputs.cls_score, inputs.label))
        if self.prototype_weight:
            prototypes, target = class_prototypes(inputs.features, inputs.label)
            refined = self.graph.refine_prototypes(prototypes)
            loss = prototype_loss(inputs.features, refined, target)
            losses['loss_prototype'] = self.prototype_weight * loss
        return losses
