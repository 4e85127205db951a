"""Classifier with a momentum copy of its network."""

from typing import Any

import torch
from mmengine.dist import get_world_size
from mmpretrain.models import ImageClassifier
from mmpretrain.models.utils import batch_shuffle_ddp, batch_unshuffle_ddp
from torch import Tensor, nn

from ltmm.models.losses.objective import USE_VIEWS, Objective
from ltmm.models.state.key_encoder import KeyEncoder
from ltmm.registry import MODELS
from ltmm.utils.errors import InputError, InputTypeError

__all__ = ['MomentumClassifier']


@MODELS.register_module()
class MomentumClassifier(ImageClassifier):
    """Classifier that passes the features of a momentum copy of its backbone and neck to its losses, for MoCo.

    The images come in at least two views: the copy sees the last one, and its features are ``key_features``; the
    classifier sees the others. On several ranks the copy gets its images shuffled over them, so that its batch norm
    does not give away which images belong together; batches must then have the same size. The copy takes no part in
    tests.

    mmpretrain's ``MoCo`` updates in the same order and shuffles by the same functions. It overwrites the batch-norm
    statistics of the copy by those of the network, which [1] does not, needs a queue that is a multiple of the batch,
    waits for the GPU in each update, and has no labels in the queue, no losses beside the contrast and no other order.

    References:
        [0] He et al., Momentum Contrast for Unsupervised Visual Representation Learning, CVPR 2020, arXiv 1911.05722.
        [1] github.com/facebookresearch/moco @132aea9, github.com/Bazinga699/NCL @f64fddb. Reproduces both to 1e-6
            (tests/conformance, ``trajectory_moco`` and ``trajectory_ncl``).

    Args:
        *args: Of mmpretrain's ``ImageClassifier``.
        momentum: m, by which the copy follows in each step, and with it the projectors of the keys in the losses. The
            code of NCL averages E times a step: the E-th power of its m.
        keys_first: Compute the features before the copy follows, as NCL does, not after, as MoCo.
        **kwargs: Of mmpretrain's ``ImageClassifier``.
    """

    def __init__(self, *args: Any, momentum: float = 0.999, keys_first: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not any('key_features' in part.requires for part in self.modules() if isinstance(part, Objective)):
            raise InputTypeError(
                'MomentumClassifier needs a loss of the features of its momentum copy: put '
                "dict(type='ltmm.MomentumContrastLoss', ...) into `aux_losses` of a head of ltmm, or into `loss` of "
                'ltmm.PretrainHead.'
            )
        for part in self.head.modules():
            if isinstance(part, KeyEncoder):
                part.momentum = momentum
        self.keys_first = keys_first
        self.key_network = KeyEncoder(self.network, momentum)

    @property
    def network(self) -> nn.Sequential:
        """Backbone and neck."""
        return nn.Sequential(self.backbone, *([self.neck] if self.with_neck else []))

    @torch.no_grad()
    def key_features(self, images: Tensor) -> Tensor:
        """Return the features (N, D) of images (N, C, H, W) by the momentum copy, and let it follow the network."""
        is_shuffled = get_world_size() > 1
        if not self.keys_first:
            self.key_network.update(self.network)
        if is_shuffled:
            images, order = batch_shuffle_ddp(images)
        features = self.head.pre_logits(self.key_network(images))
        if self.keys_first:
            self.key_network.update(self.network)
        return batch_unshuffle_ddp(features, order) if is_shuffled else features

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        queries, keys = inputs[: -len(data_samples)], inputs[-len(data_samples) :]
        if not len(queries):
            raise InputError(f'MomentumClassifier: expected at least 2 views of each image, but got 1: {USE_VIEWS}')
        key_features = self.key_features(keys)  # first, while no activations are kept for the backward pass
        return self.head.loss(self.extract_feat(queries), data_samples, key_features=key_features)
