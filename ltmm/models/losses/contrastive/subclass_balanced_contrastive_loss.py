"""SBCL: contrastive learning in which frequent classes are split into sub-classes as small as the rarest class."""

import logging
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import broadcast, is_main_process
from mmengine.logging import print_log
from torch import Tensor

from ltmm.models.state.progress import UsesProgress
from ltmm.models.state.sample_table import SampleTable
from ltmm.models.state.train_features import TrainFeatures, UsesTrainFeatures
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.environment import check_extra
from ltmm.utils.errors import InputError, MissingInputError

from ..objective import LossInputs
from .subclasses import CLUSTERINGS, class_temperatures, split_classes, subclass_counts
from .supervised_contrast import Contrast, SupervisedContrast, supervised_contrast

__all__ = ['SubclassBalancedContrastiveLoss']

CHUNK = 2**14  # features that are projected at a time


@MODELS.register_module()
class SubclassBalancedContrastiveLoss(UsesProgress, UsesTrainFeatures, SupervisedContrast):
    r"""Pulls images of a sub-class together, less so those of a class, so that frequent classes do not dominate.

    .. math::
        \ell_i = -\frac{T}{T_b} \frac{1}{|S_i|} \sum_{p \in S_i}
        \log \frac{e^{z_i \cdot z_p / T}}{\sum_{k \ne i} e^{z_i \cdot z_k / T}}
        - \gamma \frac{1}{|Q_i|} \sum_{p \in Q_i}
        \log \frac{e^{z_i \cdot z_p / T_{y_i}}}{\sum_{k \in D_i} e^{z_i \cdot z_k / T_{y_i}}}

    S_i are the references of the sub-class of i, D_i those of other sub-classes, Q_i those of them of the class of i;
    the other views of i are in all three. The references are the other views in the batches of all ranks, or, with
    ``queue_size``, the own key and a queue of earlier keys.

    The sub-classes are clusters of the projected features of each class, of about the size of the rarest class, see
    :func:`~ltmm.models.losses.contrastive.subclasses.subclass_counts`; :math:`T_c` is higher for loose classes, see
    :func:`~ltmm.models.losses.contrastive.subclasses.class_temperatures`. Both are computed after the warm-up and again
    before every epoch that is a multiple of ``interval``, from the whole training set, by the key encoder where there
    is a queue. The main process does it, the others wait; sub-classes and temperatures are in the checkpoint. During
    the warm-up the loss is that of ``ltmm.SupConLoss``.

    The queue keeps the sub-classes with which its keys came in, as in [1]: for K images after a new clustering they are
    those of the old one. Keys from before the first clustering, as of the ``ltmm.KCLLoss`` with which [1] starts on
    ImageNet-LT, count as one more sub-class.

    References:
        [0] Hou et al., Subclass-balancing Contrastive Learning for Long-tailed Recognition, ICCV 2023,
            arXiv 2306.15925.
        [1] github.com/JackHck/SBCL @3b9047a. Reproduces [1] to 1e-6 (tests/conformance, ``sbcl``, ``trajectory_sbcl``
            and ``trajectory_sbcl_moco``) with the clusters given, and its balanced k-means with the drawn centers.
            Its k-means assigns by the cosine to a center, that of scikit-learn by the distance.

    Args:
        temperature: T; 0.1, and 0.07 with a queue in [1].
        base_temperature: T_b; 0.07 in [1].
        class_term_weight: gamma; 0.25, and 0.2 with a queue in [1].
        class_temperature: :math:`T_c` of all classes; 0.12 with a queue in [1]. None: by the density of each class.
        class_term: ``'other_subclasses'``, or ``'supcon'``: ``ltmm.SupConLoss`` with T, as ``ccl`` of [1].
        warmup_epochs: Epochs without sub-classes.
        interval: Epochs between two clusterings; 10, and 5 on ImageNet-LT in [1].
        min_size: Least size of a sub-class on average; 10, and 20 on ImageNet-LT in [1].
        method: ``'kmeans'``, by scikit-learn, or ``'balanced'``, into clusters of equal size.
        augmented: Cluster the images as the training transforms their first view, as [1] does, not as those of the
            test set.
        keep_stale: Keep the sub-classes of the keys in the queue. Without, those of an earlier clustering count as one
            more sub-class, too.
        **kwargs: Arguments of :class:`SupervisedContrast`.

    Attributes:
        subclass: Of each training image, -1 before the first clustering.
        temperatures: :math:`T_c`, (C,).
    """

    with_subclasses = True

    def __init__(
        self,
        *,
        temperature: float = 0.1,
        base_temperature: float = 0.07,
        class_term_weight: float = 0.25,
        class_temperature: float | None = None,
        class_term: str = 'other_subclasses',
        warmup_epochs: int = 10,
        interval: int = 10,
        min_size: int = 10,
        method: str = 'kmeans',
        augmented: bool = True,
        keep_stale: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check(temperature=(temperature, '> 0'), base_temperature=(base_temperature, '> 0'))
        check(class_term_weight=(class_term_weight, '>= 0'), class_term=(class_term, ('other_subclasses', 'supcon')))
        check(warmup_epochs=(warmup_epochs, 'int >= 0'), interval=(interval, 'int >= 1'))
        check(min_size=(min_size, 'int >= 1'), method=(method, tuple(CLUSTERINGS)))
        check(class_temperature=(class_temperature, '> 0 or None'))
        if self.queue is None and not keep_stale:
            raise InputError(f'{type(self).__name__}: expected `queue_size` with keep_stale=False.')
        if class_term == 'supcon' and class_temperature is not None:
            raise InputError(
                f"{type(self).__name__}: class_term='supcon' has `temperature`: leave class_temperature out."
            )
        if method == 'kmeans':
            check_extra('features', 'sklearn')
        self.requires = (*self.requires, 'sample_idx')
        self.temperature, self.base_temperature = temperature, base_temperature
        self.class_term_weight, self.class_term = class_term_weight, class_term
        self.class_temperature = class_temperature
        self.warmup_epochs, self.interval = warmup_epochs, interval
        self.min_size, self.method = min_size, method
        self.num_augmented_passes, self.keep_stale = int(augmented), keep_stale
        self.needs_train_key_features = self.queue is not None
        self.subclass = SampleTable(0, fill=-1, dtype=torch.int64)
        self.temperatures = SampleTable(0, dtype=torch.float64)  # of classes

    # ------------------------------------------------------------------ sub-classes

    def too_short(self, max_epochs: int) -> str | None:
        if self.warmup_epochs >= max_epochs:
            return f'never clusters: warmup_epochs={self.warmup_epochs}, but the training has {max_epochs} epochs.'

    def needs_train_features(self, epoch: int) -> bool:
        is_first = epoch == self.warmup_epochs or not len(self.subclass.values)  # loaded ones may be of other data
        return epoch >= self.warmup_epochs and (is_first or epoch % self.interval == 0)

    def on_train_features(self, outputs: TrainFeatures) -> None:
        """Cluster each class and compute its temperature."""
        num_classes, num_samples = int(outputs.label.max()) + 1, int(outputs.sample_idx.max()) + 1
        self.subclass.resize(num_samples)
        self.temperatures.resize(num_classes)
        if is_main_process():
            start = perf_counter()
            features, label = self.project_all(outputs), outputs.label
            num = subclass_counts(torch.bincount(label, minlength=num_classes), self.min_size)
            seed = (outputs.seed * 2**20 + self.epoch) % 2**32
            subclass = split_classes(features, label, num, self.method, seed)
            self.subclass.values[outputs.sample_idx] = subclass.to(self.subclass.values)
            temperatures = class_temperatures(features, label, num, self.temperature)
            self.temperatures.values.copy_(temperatures)
            message = f'{int(num.sum())} sub-classes of {num_classes} classes in {perf_counter() - start:.1f} s'
            print_log(message, logger='current', level=logging.INFO)
        broadcast(self.subclass.values)
        broadcast(self.temperatures.values)
        if not self.keep_stale:
            self.queue.sub_labels.fill_(-1)

    @torch.no_grad()
    def project_all(self, outputs: TrainFeatures) -> Tensor:
        """Project the features of the training set, of the key encoder where there is one, to unit vectors, (N, D)."""
        if self.queue is None:
            features, projector = outputs.features, self.projector
        else:
            features, projector = outputs.key_features, self.key_projector
        like = self.projector[0].weight
        return torch.cat([F.normalize(projector(chunk.to(like)), dim=1).cpu() for chunk in features.split(CHUNK)])

    # ------------------------------------------------------------------ loss

    def subclass_of(self, inputs: LossInputs) -> Tensor:
        if not len(self.subclass.values):
            return torch.full_like(inputs.label, -1)
        return self.subclass.read(inputs.sample_idx)

    def losses(self, contrast: Contrast) -> dict[str, Tensor]:
        logits, everything = contrast.cosine / self.temperature, contrast.is_candidate
        if self.epoch < self.warmup_epochs:
            loss = supervised_contrast(logits, contrast.same_class, everything)
            return dict(loss_class=loss, loss_subclass=torch.zeros_like(loss))
        others = ~contrast.same_subclass | contrast.is_own
        factor = self.temperature / self.base_temperature
        return dict(
            loss_class=self.class_term_weight * self.class_loss(contrast, logits, others & everything),
            loss_subclass=factor * supervised_contrast(logits, contrast.same_subclass, everything),
        )

    def class_loss(self, contrast: Contrast, logits: Tensor, others: Tensor) -> Tensor:
        """Compute the term of the classes of each anchor, (N,).

        Args:
            contrast: Anchors and references.
            logits: With T, (N, M).
            others: References of other sub-classes and the own ones, (N, M).
        """
        if self.class_term == 'supcon':
            return supervised_contrast(logits, contrast.same_class, contrast.is_candidate)
        if self.class_temperature is not None:
            logits = contrast.cosine / self.class_temperature
        else:
            logits = contrast.cosine / self.temperatures.read(contrast.label).to(logits).unsqueeze(1)
        return supervised_contrast(logits, contrast.same_class & others, others)

    def _check(self, inputs: LossInputs) -> None:
        super()._check(inputs)
        if self.epoch >= self.warmup_epochs and not len(self.subclass.values):
            raise MissingInputError(
                "SubclassBalancedContrastiveLoss needs sub-classes: add dict(type='ltmm.TrainFeaturesHook') to "
                "custom_hooks, as ltmm's default_runtime.py does, or call on_train_features(outputs)."
            )

    def extra_repr(self) -> str:
        return (
            f'temperature={self.temperature}, base_temperature={self.base_temperature}, '
            f'class_term={self.class_term!r}, warmup_epochs={self.warmup_epochs}, interval={self.interval}, '
            f'method={self.method!r}'
        )
