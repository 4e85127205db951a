"""Two networks that learn from noisy labels, each from the samples that the other one holds to be clean."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dist import broadcast, is_main_process
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from torch import Tensor, nn

from ltmm.models.heads.multi_expert_cls_head import MultiExpertClsHead
from ltmm.models.layers.per_expert import PerExpert
from ltmm.models.losses.base import at_least_float32, mean_over_ranks
from ltmm.models.losses.expert.per_expert_loss import PerExpertLoss
from ltmm.models.losses.objective import USE_VIEWS, LossInputs
from ltmm.models.selectors import CleanSelector
from ltmm.models.state.co_divide_step import CoDivideStep
from ltmm.models.state.progress import UsesProgress
from ltmm.models.state.sample_table import SampleTable, sample_indices
from ltmm.models.state.train_features import TrainFeatures, UsesTrainFeatures
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, InputTypeError, MissingInputError

__all__ = ['CoDivideClassifier', 'mix_rows', 'mixmatch_terms', 'refine_labels', 'sharpen']


def sharpen(prob: Tensor, temperature: float) -> Tensor:
    """Raise probabilities (N, C) to the power 1 / temperature, and normalize."""
    powered = prob ** (1 / temperature)
    return powered / powered.sum(1, keepdim=True)


def refine_labels(label: Tensor, clean: Tensor, prob: Tensor) -> Tensor:
    r"""Compute :math:`w_i e_{y_i} + (1 - w_i) p_i`, (N, C).

    Args:
        label: Observed labels y, (N,).
        clean: Probability w that each is right, (N,).
        prob: Prediction p, (N, C).
    """
    weight = clean.to(prob)[:, None]
    return weight * F.one_hot(label, prob.size(1)) + (1 - weight) * prob


def mix_rows(rows: Tensor, share: float, permutation: Tensor) -> Tensor:
    """Mix rows (N, ...) with those of a permutation; ``share`` is that of the own row."""
    return share * rows + (1 - share) * rows[permutation]


def mixmatch_terms(logits: Tensor, target: Tensor, num_labeled: int) -> dict[str, Tensor]:
    r"""Compute the three losses of a mixed batch.

    .. math::
        L_x &= -\frac{1}{N_x} \sum_{i \le N_x} \sum_c t_{ic} \log p_{ic}, \qquad
        L_u = \frac{1}{N_u C} \sum_{i > N_x} \sum_c (p_{ic} - t_{ic})^2, \\
        R &= \sum_c \frac{1}{C} \log \frac{1 / C}{\bar p_c}

    with the mean prediction of all ranks in R. :math:`L_u` is 0 without unlabeled rows.

    Args:
        logits: Of the mixed images, (N_x + N_u, C), labeled ones first; p is their softmax.
        target: Mixed soft labels t, (N_x + N_u, C).
        num_labeled: N_x, at least 1.
    """
    log_prob = logits.log_softmax(1)
    prob, num_classes = log_prob.exp(), logits.size(1)
    error = (prob - target)[num_labeled:].square()
    mean_prob = mean_over_ranks(prob.mean(0)).clamp(min=torch.finfo(prob.dtype).tiny)  # (C,)
    return dict(
        loss_labeled=-(target * log_prob)[:num_labeled].sum(1).mean(),
        loss_unlabeled=error.sum() / max(error.numel(), 1),
        loss_penalty=-(num_classes * mean_prob).log().mean(),
    )


@MODELS.register_module()
class CoDivideClassifier(UsesTrainFeatures, UsesProgress, ImageClassifier):
    r"""Two networks that learn from noisy labels; each trains on what the other holds to be clean.

    In the warm-up both learn from all labels. After it, before each epoch, both networks see the training set under
    the test transforms, and the selector tells from their outputs which labels are right and how probable that is.
    Whether tail classes keep clean samples depends on it: ``ltmm.BiDimensionalSelector``, within each class, gives
    TABASCO [0]; ``ltmm.LossMixtureSelector``, one mixture over all classes, DivideMix [2]. A network then learns by
    MixMatch: labels of selected images are refined by its own predictions, those of the others guessed by both
    networks, all are sharpened and mixed,

    .. math:: L = L_x + \lambda L_u + R, \qquad
        \lambda = \lambda_u \, \mathrm{clamp}\left(\frac{\text{epoch} - \text{warm-up}}{\text{ramp}}, 0, 1\right)

    see :func:`mixmatch_terms`. Predictions are those of both networks together. Needs ``ltmm.CoDivideHook``,
    ``ltmm.CoDivideBatchSampler``, two views of each image and, on several ranks, ``find_unused_parameters=True``.

    A network whose counterpart selects nothing is not trained in that epoch. Guesses of the network in training run in
    training mode and move its batch-norm statistics, as in [1]; the other one is in evaluation mode.

    References:
        [0] Lu et al., Label-Noise Learning with Intrinsically Long-Tailed Data, ICCV 2023, arXiv 2208.09833.
        [1] github.com/Wakings/TABASCO @712992b. Reproduced to 1e-6 (tests/conformance, ``tabasco`` and
            ``trajectory_tabasco``).
        [2] Li et al., DivideMix: Learning with Noisy Labels as Semi-Supervised Learning, ICLR 2020, arXiv 2002.07394.

    Args:
        backbone: Config of the backbone of a network.
        head: Config of a :class:`~ltmm.models.heads.MultiExpertClsHead` with ``num_experts=2`` and an
            ``ltmm.PerExpertLoss``, the loss of the warm-up.
        selector: Config of a :class:`~ltmm.models.selectors.CleanSelector`.
        warmup_epochs: Epochs with all labels.
        neck: Config of the neck of a network.
        temperature: Of the sharpening.
        alpha: Of the Beta distribution of the mixing.
        unlabeled_weight: lambda_u.
        rampup_epochs: Epochs after the warm-up in which lambda grows to lambda_u.
        **kwargs: Further arguments of mmpretrain's ``ImageClassifier``.

    Attributes:
        clean: Probability that the label of each sample is right, by each network, (N, 2); 0 for samples that are not
            selected.
    """

    needs_train_logits = False  # they follow from the features

    def __init__(
        self,
        backbone: dict,
        head: dict,
        selector: dict,
        warmup_epochs: int,
        neck: dict | None = None,
        temperature: float = 0.5,
        alpha: float = 4.0,
        unlabeled_weight: float = 25.0,
        rampup_epochs: int = 16,
        **kwargs: Any,
    ) -> None:
        check(warmup_epochs=(warmup_epochs, 'int >= 0'), temperature=(temperature, '> 0'), alpha=(alpha, '> 0'))
        check(unlabeled_weight=(unlabeled_weight, '>= 0'), rampup_epochs=(rampup_epochs, 'int >= 1'))
        super().__init__(backbone=_two(backbone), neck=None if neck is None else _two(neck), head=head, **kwargs)
        if not isinstance(self.head, MultiExpertClsHead) or self.head.num_experts != 2:
            raise InputTypeError(
                "CoDivideClassifier needs head=dict(type='ltmm.MultiExpertClsHead', num_experts=2, ...), but got "
                f'{type(self.head).__name__} with num_experts={getattr(self.head, "num_experts", None)}.'
            )
        if not isinstance(self.head.loss_module, PerExpertLoss):
            raise InputTypeError(
                "CoDivideClassifier warms up one network at a time: expected loss=dict(type='ltmm.PerExpertLoss', "
                f'loss=...) in the head, but got {type(self.head.loss_module).__name__}.'
            )
        self.selector = MODELS.build(selector)
        if not isinstance(self.selector, CleanSelector):
            raise InputTypeError(f'Expected `selector` to be a CleanSelector, but got {type(self.selector).__name__}.')
        self.warmup_epochs, self.temperature, self.alpha = warmup_epochs, temperature, alpha
        self.unlabeled_weight, self.rampup_epochs = unlabeled_weight, rampup_epochs
        self.clean = SampleTable(0, 2)
        self.register_buffer('sample_idx', torch.zeros(0, dtype=torch.int64), persistent=False)  # (N,), of the rows
        self.step: CoDivideStep | None = None  # set by CoDivideHook

    def too_short(self, max_epochs: int) -> str | None:
        if self.warmup_epochs >= max_epochs:
            return f'never selects: warmup_epochs={self.warmup_epochs}, but the training has {max_epochs} epochs.'

    # ------------------------------------------------------------------ networks

    def network(self, k: int) -> list[nn.Module]:
        """Return the parts of network k: backbone, neck if there is one, and classifier."""
        parts = [self.backbone, *([self.neck] if self.with_neck else []), self.head.fc]
        return [part.experts[k] for part in parts]

    def features(self, k: int, images: Tensor) -> Tensor:
        """Return the features (N, D) of images (N, 3, H, W) by network k."""
        outputs: Any = images
        for part in self.network(k)[:-1]:
            outputs = part(outputs)
        return outputs[-1]

    def extract_feat(self, inputs: Tensor, stage: str = 'neck') -> tuple[Tensor] | Tensor:
        """Return the features of both networks.

        Args:
            inputs: Images, (N, 3, H, W).
            stage: ``'neck'`` for (2, N, D), in the tuple that heads expect; ``'pre_logits'`` for (N, 2 D).
        """
        check(stage=(stage, ('neck', 'pre_logits')))
        feats = (torch.stack([self.features(k, inputs) for k in range(2)]),)
        return self.head.pre_logits(feats) if stage == 'pre_logits' else feats

    # ------------------------------------------------------------------ selection

    def needs_train_features(self, epoch: int) -> bool:
        return epoch >= self.warmup_epochs

    @torch.no_grad()
    def on_train_features(self, outputs: TrainFeatures) -> None:
        """Select clean samples by each network."""
        device = self.clean.values.device
        self.sample_idx = outputs.sample_idx.to(device)
        self.clean.resize(int(outputs.sample_idx.max()) + 1)
        self.clean.values.zero_()
        if is_main_process():
            with _evaluating(self.head):
                features = outputs.features.unflatten(1, (2, -1)).transpose(0, 1)  # (2, N, D)
                logits = self.head.expert_logits((features.to(device, next(self.head.parameters()).dtype),)).cpu()
            for k in range(2):
                state = self.random_state(outputs.seed, k)
                _, clean = self.selector.select(features[k], logits[k], outputs.label, state)
                self.clean.values[self.sample_idx, k] = torch.from_numpy(clean).to(self.clean.values)
        broadcast(self.clean.values)

    def random_state(self, seed: int, k: int) -> np.random.RandomState:
        """Return the random numbers of the mixtures of network k in this epoch."""
        return np.random.RandomState([seed, self.epoch, k])

    @property
    def selected(self) -> Tensor | None:
        """Whether each network selects each sample, in the order of the dataset, (2, N); None in the warm-up."""
        if self.epoch < self.warmup_epochs:
            return None
        return (self.clean.read(self.sample_idx) > 0).T

    # ------------------------------------------------------------------ training

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        if self.step is None:
            raise MissingInputError("CoDivideClassifier needs custom_hooks=[..., dict(type='ltmm.CoDivideHook')].")
        k, num = self.step.network, len(data_samples)
        label, sample_idx = self.head.labels_of(data_samples), sample_indices(data_samples)
        if self.step.num_labeled is None:
            return self.warmup_loss(k, inputs[:num], label, sample_idx)
        if len(inputs) != 2 * num:
            raise InputError(
                f'CoDivideClassifier needs two views of each image, but got {len(inputs) // num}: {USE_VIEWS}'
            )
        clean = self.clean.read(sample_idx)[:, 1 - k]  # (N,)
        return self.mixmatch_loss(k, inputs.unflatten(0, (2, num)), label, clean, self.step.num_labeled)

    def warmup_loss(self, k: int, images: Tensor, label: Tensor, sample_idx: Tensor | None) -> dict[str, Tensor]:
        """Compute the loss of network k with all labels.

        Args:
            k: Index of the network.
            images: (N, 3, H, W).
            label: (N,).
            sample_idx: (N,).
        """
        features = self.features(k, images)
        classifier = self.head.fc.experts[k]
        logits = classifier(features)
        inputs = LossInputs(
            label, logits, features, sample_idx=sample_idx, expert_logits=logits[None], classifier=classifier
        )
        terms = self.head.compute_losses(inputs)
        return {name.replace('expert0', f'expert{k}'): term for name, term in terms.items()}

    def mixmatch_loss(self, k: int, views: Tensor, label: Tensor, clean: Tensor, num_labeled: int) -> dict[str, Tensor]:
        """Compute the loss of network k on labeled and unlabeled images.

        Args:
            k: Index of the network.
            views: Two views of each image, (2, N, 3, H, W), labeled images first.
            label: Observed labels, (N,); those of unlabeled images are not used.
            clean: Probability by the other network that each label is right, (N,).
            num_labeled: Labeled images.
        """
        labeled, unlabeled = views[:, :num_labeled], views[:, num_labeled:]
        targets_x, targets_u = self.targets(k, labeled, unlabeled, label[:num_labeled], clean[:num_labeled])
        images = torch.cat([*labeled, *unlabeled])
        target = torch.cat([targets_x, targets_x, targets_u, targets_u])
        share, permutation = self.draw(len(images))
        permutation = permutation.to(images.device)
        logits = self.head.fc.experts[k](self.features(k, mix_rows(images, share, permutation)))
        mixed = mix_rows(target, share, permutation)
        terms = mixmatch_terms(at_least_float32(logits), mixed, 2 * num_labeled)
        passed = (self.epoch + self.step.progress - self.warmup_epochs) / self.rampup_epochs
        weight = self.unlabeled_weight * min(max(passed, 0.0), 1.0)
        terms['loss_unlabeled'] = weight * terms['loss_unlabeled']
        return terms | dict(unlabeled_weight=mixed.new_tensor(weight))

    @torch.no_grad()
    def targets(
        self, k: int, labeled: Tensor, unlabeled: Tensor, label: Tensor, clean: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Refine the labels of labeled images and guess those of unlabeled ones: soft labels (N_x, C) and (N_u, C).

        Args:
            k: Index of the network that is trained.
            labeled: Two views of each labeled image, (2, N_x, 3, H, W).
            unlabeled: Two views of each unlabeled image, (2, N_u, 3, H, W).
            label: (N_x,).
            clean: Probability that each label is right, (N_x,).
        """
        guess = label.new_zeros(0, self.head.num_classes, dtype=torch.float32)
        if unlabeled.size(1):
            own = [self._prob(k, view) for view in unlabeled]
            with _evaluating(*self.network(1 - k)):
                other = [self._prob(1 - k, view) for view in unlabeled]
            guess = sharpen(sum(own + other) / 4, self.temperature)
        prob = sum(self._prob(k, view) for view in labeled) / 2
        return sharpen(refine_labels(label, clean, prob), self.temperature), guess.to(prob)

    def draw(self, num: int) -> tuple[float, Tensor]:
        """Draw the share of the own image, at least a half, and the permutation (num,) of its partners."""
        share = np.random.beta(self.alpha, self.alpha)
        return max(share, 1 - share), torch.randperm(num)

    def _prob(self, k: int, images: Tensor) -> Tensor:
        logits = self.head.fc.experts[k](self.features(k, images))
        return at_least_float32(logits).softmax(1)


@contextmanager
def _evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode, and back into training mode."""
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module in modules:
            module.train()


def _two(cfg: dict) -> PerExpert:
    return PerExpert(partial(MMPRETRAIN_MODELS.build, cfg), 2)
