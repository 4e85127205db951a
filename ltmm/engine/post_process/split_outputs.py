"""Outputs of a classifier on a split of the data, computed when a correction asks for them."""

from collections.abc import Callable, Sequence

import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, all_reduce
from mmengine.logging import print_log
from torch import Tensor, nn

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels import class_distribution_of
from ltmm.engine.runner.model_outputs import ModelOutputs, build_test_loader, model_outputs
from ltmm.models.post_process.base import PostProcess, classification_head
from ltmm.models.post_process.search import objective_value, uses_sigmoid
from ltmm.utils.errors import InputError

from .validation_data import validation_dataset

__all__ = ['SplitOutputs', 'gathered_outputs', 'train_split', 'val_split']

CHUNK = 8192


class SplitOutputs:
    """Features, labels and logits of a split; the data pass through the model when one of them is first read.

    Args:
        load: Computes the outputs, with or without logits.
        head: Classification head of the model.
        with_logits: Compute the logits together with the features. Without it they take a second pass.
    """

    def __init__(self, load: Callable[[bool], ModelOutputs], head: nn.Module, with_logits: bool = True) -> None:
        self.head, self.num_classes = head, head.num_classes
        self._load, self._with_logits = load, with_logits
        self._outputs: ModelOutputs | None = None

    def outputs(self, with_logits: bool = False) -> ModelOutputs:
        """Features, labels, and logits on request."""
        if self._outputs is None or (with_logits and self._outputs.logits is None):
            self._outputs = self._load(with_logits or self._with_logits)
        return self._outputs

    @property
    def features(self) -> Tensor:
        """Input of the classifier layer, (N, D)."""
        return self.outputs().features

    @property
    def label(self) -> Tensor:
        """Class indices, (N,)."""
        return self.outputs().label

    @property
    def logits(self) -> Tensor:
        """(N, C)."""
        return self.outputs(with_logits=True).logits

    def class_means(self) -> Tensor:
        """Mean of the features per class, over all ranks of a training split, float64, (C, D); 0 without samples."""
        return self._class_average(lambda features, label: features)

    def class_variances(self) -> Tensor:
        """Population variance of the features per class, otherwise as :meth:`class_means`."""
        means = self.class_means()
        return self._class_average(lambda features, label: (features - means[label]).square())

    def _class_average(self, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        total = self.features.new_zeros(self.num_classes, self.features.size(1), dtype=torch.float64)
        for features, label in zip(self.features.split(CHUNK), self.label.split(CHUNK)):
            total.index_add_(0, label, function(features.double(), label))
        count = torch.bincount(self.label, minlength=self.num_classes).double()
        all_reduce(total)
        all_reduce(count)
        return total / count.clamp(min=1)[:, None]

    @torch.no_grad()
    def evaluate(self, step: PostProcess, strengths: Sequence[float]) -> list[float]:
        """Objective of a correction for each strength; the correction is left at the last one."""
        values, out = [], self.outputs(with_logits=True)
        for strength in strengths:
            setattr(step, step.strength, strength)
            corrected = step(out.logits, out.features, self.head)
            values.append(objective_value(step.objective, corrected, out.label, uses_sigmoid(self.head)))
        return values


def train_split(model: nn.Module, cfg: Config, distribution: ClassDistribution | None) -> SplitOutputs:
    """Training split with the test pipeline; each rank holds its part of the samples.

    Args:
        model: Classifier.
        cfg: Its config.
        distribution: Class distribution of its checkpoint.
    """

    def load(with_logits: bool) -> ModelOutputs:
        if not cfg.get('train_dataloader'):
            raise InputError('The correction is fitted on train_dataloader, which the config lacks.')
        print_log('Outputs for the training data:', 'current')
        loader = build_test_loader(cfg, cfg.train_dataloader.dataset, distribution=distribution)
        return ModelOutputs.join(model_outputs(model, loader, with_logits))

    return SplitOutputs(load, classification_head(model, 'train_split()'), with_logits=False)


def val_split(
    model: nn.Module,
    cfg: Config,
    distribution: ClassDistribution | None,
    split: str | None = None,
    num_images: int | None = None,
) -> SplitOutputs:
    """Validation split, all of it on every rank.

    Args:
        model: Classifier.
        cfg: Its config.
        distribution: Class distribution of its checkpoint.
        split: See :func:`~ltmm.engine.post_process.validation_data.validation_dataset`.
        num_images: Same.
    """
    head = classification_head(model, 'val_split()')

    def load(with_logits: bool) -> ModelOutputs:
        dataset, found = validation_dataset(cfg, split, num_images)
        if found == 'holdout':
            check_held_out(cfg, distribution)
        print_log(f'Outputs for the validation data ({found}):', 'current')
        outputs = gathered_outputs(model, cfg, dataset, distribution, with_logits)
        num_missing = int((outputs.label.bincount(minlength=head.num_classes) == 0).sum())
        ignored = f'; {num_missing} classes have none and do not count' if num_missing else ''
        print_log(f'{len(outputs.label)} validation images{ignored}', 'current')
        return outputs

    return SplitOutputs(load, head)


def gathered_outputs(
    model: nn.Module, cfg: Config, dataset: dict, distribution: ClassDistribution | None, with_logits: bool = True
) -> ModelOutputs:
    """Outputs for all samples, in order, on every rank."""
    loader = build_test_loader(cfg, dataset, distribution=distribution)
    return ModelOutputs.interleave(all_gather_object(ModelOutputs.join(model_outputs(model, loader, with_logits))))


def check_held_out(cfg: Config, distribution: ClassDistribution | None) -> None:
    """Refuse held-out images if the checkpoint was trained on other images than the config's, maybe on these."""
    train = class_distribution_of(cfg.train_dataloader.dataset)
    if distribution is not None and train.instance_counts.tolist() != distribution.instance_counts.tolist():
        raise InputError(
            f'Expected a checkpoint trained on the {train.instance_counts.sum()} training images of the config, but '
            f'it was trained on {distribution.instance_counts.sum()}, maybe on those that are held out.'
        )
