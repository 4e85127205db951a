"""Classifier of several experts that images leave as soon as a router lets them."""

from typing import Any

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ltmm.models.backbones.multi_expert import MultiExpertBackbone
from ltmm.models.heads.expert_routing_head import ExpertRoutingHead
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError

__all__ = ['EarlyExitClassifier']


@MODELS.register_module()
class EarlyExitClassifier(ImageClassifier):
    """Runs each expert only on the images that the router sends on, most of them images of rare classes.

    The prediction of an image is the mean of the logits of the experts it has seen. The data samples also hold their
    number, ``num_experts``, and the multiply-adds of the image in backbone, classifiers and router, ``flops``, beside
    those with all experts, ``max_flops``; ``ltmm.EarlyExitMetric`` averages them. Train the experts first, then the
    router with everything else frozen, as ``configs/cifar100_lt/ride_ea_r32.py`` does.

    [0] Wang et al., Long-tailed Recognition by Routing Diverse Distribution-Aware Experts, ICLR 2021, arXiv 2010.01809.
    [1] github.com/frank-xwang/RIDE-LongTailRecognition @ab8be5c, ``ea_resnet_cifar.py``.

    Args:
        *args: Of mmpretrain's ``ImageClassifier``; the backbone has separate experts, the head is
            ``ltmm.ExpertRoutingHead``.
        threshold: Images go on where the sigmoid of the router's score is greater. 0 uses all experts.
        **kwargs: Of mmpretrain's ``ImageClassifier``.
    """

    def __init__(self, *args: Any, threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        check(threshold=(threshold, 'in [0, 1]'))
        if not isinstance(self.backbone, MultiExpertBackbone) or not self.backbone.runs_experts_alone or self.with_neck:
            raise InputTypeError(
                'EarlyExitClassifier needs a backbone whose experts run one by one, such as ltmm.MultiExpertResNet, '
                f'and no neck, but got {type(self.backbone).__name__}.'
            )
        if not isinstance(self.head, ExpertRoutingHead):
            raise InputTypeError(
                f'EarlyExitClassifier needs ltmm.ExpertRoutingHead, but got {type(self.head).__name__}.'
            )
        if self.backbone.num_experts != self.head.num_experts:
            raise InputError(
                f'EarlyExitClassifier: the backbone has {self.backbone.num_experts} experts, but the head has '
                f'{self.head.num_experts}.'
            )
        self.threshold = threshold
        self._flops: dict[torch.Size, list[int]] = {}

    def route(self, inputs: Tensor, last: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the mean logits of the experts of each image, (N, C), and how many it has seen, (N,).

        Args:
            inputs: Images, (N, C, H, W).
            last: Expert, counted from 0, which all images see and leave after. Default: what the router says.
        """
        shared = self.backbone.shared_map(inputs)
        row = torch.arange(len(inputs), device=inputs.device)  # of the images that go on
        num_experts, total = torch.zeros_like(row), inputs.new_zeros(len(inputs), self.head.num_classes)
        for e, classifier in enumerate(self.head.fc.experts):
            features = self.backbone.expert_features(shared, e)
            total = total.index_add(0, row, classifier(features).to(total))
            num_experts[row] += 1
            if e + 1 == self.head.num_experts:
                break
            score = self.head.router(e, features, total[row] / (e + 1))
            goes_on = score.sigmoid() > self.threshold if last is None else torch.full_like(row, e < last).bool()
            shared, row = shared[goes_on], row[goes_on]
            if not len(row):
                break
        return total / num_experts.unsqueeze(1), num_experts

    def flops_of_exits(self, image: Tensor) -> list[int]:
        """Count the multiply-adds for one image that leaves after 1, 2, ..., E experts, once for each size of images.

        Args:
            image: (1, C, H, W).
        """
        if image.shape not in self._flops:
            counts = []
            for last in range(self.head.num_experts):
                with FlopCounterMode(display=False) as counter:
                    self.route(image, last)
                counts.append(counter.get_total_flops() // 2)
            self._flops[image.shape] = counts
        return self._flops[image.shape]

    def predict(self, inputs: Tensor, data_samples: list[DataSample] | None = None, **kwargs: Any) -> list[DataSample]:
        """Return scores and labels, the experts used and their cost.

        Args:
            inputs: Images, (N, C, H, W).
            data_samples: Samples to add the predictions to.
            **kwargs: Not used.
        """
        if self.head._forward_hooks:
            raise InputTypeError(
                'EarlyExitClassifier does not call its head, so corrections of it, such as ltmm.PostProcessHook makes, '
                "would have no effect: use type='ImageClassifier', which runs all experts."
            )
        logits, num_experts = self.route(inputs)
        flops = self.flops_of_exits(inputs[:1])
        predictions = self.head._get_predictions(logits, data_samples)
        for sample, used in zip(predictions, num_experts.tolist()):
            sample.set_field(used, 'num_experts')
            sample.set_field(flops[used - 1], 'flops')
            sample.set_field(flops[-1], 'max_flops')
        return predictions
