"""LFME: one student learns from experts of the many-, medium- and few-shot classes, at its own pace."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ltmm.class_distribution import ClassDistribution
from ltmm.models.state.class_distribution import UsesClassDistribution
from ltmm.models.state.metrics import UsesMetrics
from ltmm.models.state.progress import UsesProgress
from ltmm.models.state.sample_table import SampleTable
from ltmm.models.state.train_features import TrainFeatures, UsesTrainFeatures
from ltmm.registry import MODELS
from ltmm.utils.checks import check
from ltmm.utils.errors import InputError, MissingInputError
from ltmm.utils.shots import SHOT_NAMES, check_thresholds, group_classes

from ..base import check_soft_labels, divisor
from ..expert.base import kl_divergence
from ..objective import LossInputs, Objective

__all__ = ['LFMELoss', 'curriculum_weights', 'expert_weights', 'scheduled_weights']


def expert_weights(student: Tensor, expert: Tensor, threshold: float) -> Tensor:
    """Compute the weight of each expert, (G,): 1 while the student is far behind, 0 once it has caught up.

    Args:
        student: Accuracy of the student on the classes of each expert, (G,).
        expert: Accuracy of the expert itself, (G,).
        threshold: Share of the accuracy of the expert up to which the weight is 1.
    """
    lowest = torch.finfo(expert.dtype).tiny  # an expert without a right answer has weight 0
    return ((expert - student) / (expert.clamp(min=lowest) * (1 - threshold))).clamp(0, 1)


def curriculum_weights(confidence: Tensor, label: Tensor, lowest: Tensor) -> Tensor:
    """Scale the confidence of the images of each class to [lowest, 1], (N,); 1 where all images of a class are equal.

    Args:
        confidence: Probability of the true class by its expert, (N,).
        label: Class indices, (N,).
        lowest: Weight of the hardest image of each class, (C,).
    """
    low, high = (
        confidence.new_zeros(len(lowest)).scatter_reduce(0, label, confidence, reduce, include_self=False)[label]
        for reduce in ('amin', 'amax')
    )
    share = torch.where(high > low, (confidence - low) / (high - low), 1.0)
    return lowest[label] + (1 - lowest[label]) * share


def scheduled_weights(weight: Tensor, epoch: int, max_epochs: int) -> Tensor:
    """Compute the factor of the logits of each image, from its weight up to 1 at half of the training, and on beyond.

    Args:
        weight: See :func:`curriculum_weights`, (N,).
        epoch: Counted from 1.
        max_epochs: Of the whole training.
    """
    return weight + (1 - weight) * (epoch / (max_epochs / 2))


@MODELS.register_module()
class LFMELoss(UsesProgress, UsesMetrics, UsesTrainFeatures, UsesClassDistribution, Objective):
    r"""Learns each group of classes from an expert until it is as good, and hard images of frequent classes late.

    .. math::
        \mathrm{CE}(u z, y) + \sum_s \omega_s \,
        \mathrm{KL}\big(\mathrm{softmax}(t_s / T) \,\|\, \mathrm{softmax}((u z)_s / T)\big)

    where :math:`t_s` are the logits of the expert of the many-, medium- or few-shot classes s, for every image, and
    :math:`(u z)_s` those of the student for these classes.

    - :math:`\omega_s = \min(1, (A_s - a_s) / ((1 - \alpha) A_s))`, at least 0, see :func:`expert_weights`, is updated
      after every validation from the accuracies :math:`A_s` of the expert, ``teacher/many`` ... of
      ``ltmm.TeacherMetric``, and :math:`a_s` of the student, ``long_tail/many`` ... of
      ``ltmm.LongTailMetric(convention='oltr')``. It is 1 before. **The validation set steers the training: it must not
      be the test set.**
    - u, a factor of the logits of each image, rises over the training, see :func:`scheduled_weights`. It starts from
      the confidence of the expert of the true class, see :func:`curriculum_weights`, in one pass over the training data
      with the test pipeline. In few-shot classes it starts at 1.

    It needs ``model=dict(type='ltmm.LFMEClassifier')``, which holds the experts. [1] samples all classes equally often:
    ``ltmm.ClassAwareSampler``.

    [0] Xiang et al., Learning From Multiple Experts: Self-paced Knowledge Distillation for Long-tailed Classification,
        ECCV 2020, arXiv 2001.01536.
    [1] github.com/xiangly55/LFME @0a18a06. Reproduces [1] to 1e-6 (tests/conformance, ``lfme`` and
        ``trajectory_lfme``). Where all images of a class have the same confidence, [1] has NaN; here their weight is 1.

    Args:
        temperature: T.
        threshold: alpha.
        lowest_weights: Weight of the hardest image of a many-, a medium- and a few-shot class. [1] has the ratio of 12
            images per few-shot class of ImageNet-LT to 230, 53 and 12.
        thresholds: Least number of images of a many-shot class, largest of a few-shot class; the same as of
            ``ltmm.ClassSubset`` and ``ltmm.LongTailMetric``, which list the other forms.
        class_counts: Training images per class, a list or ``{class name: count}``. Default: taken from the training
            data.
        num_classes: C, to check the counts against.
    """

    requires = ('cls_score', 'teacher_logits', 'sample_idx')
    needs_train_teacher_logits = True
    accepts_soft_labels = False

    def __init__(
        self,
        *,
        temperature: float = 2.0,
        threshold: float = 0.3,
        lowest_weights: Sequence[float] = (12 / 230, 12 / 53, 1.0),
        thresholds: Sequence[int] | dict | str = (100, 20),
        class_counts: Sequence[int] | dict[str, int] | str | None = None,
        num_classes: int | None = None,
    ) -> None:
        check(
            temperature=(temperature, '> 0'),
            threshold=(threshold, 'in [0, 1)'),
            lowest_weights=(lowest_weights, 'a list of numbers in [0, 1]'),
        )
        if np.shape(lowest_weights) != (len(SHOT_NAMES),):
            raise InputError(f'Expected `lowest_weights` of {SHOT_NAMES}, but got {lowest_weights}.')
        check_thresholds(thresholds)
        super().__init__()
        self.temperature, self.threshold = temperature, threshold
        self.lowest_weights, self.thresholds = tuple(lowest_weights), thresholds
        self.curriculum = SampleTable(0, fill=1.0, dtype=torch.float64)
        self.register_buffer('expert_weight', torch.ones(len(SHOT_NAMES), dtype=torch.float64))
        self.init_class_distribution(class_counts, num_classes)

    # ------------------------------------------------------------------ groups of classes

    def on_class_distribution(self, distribution: ClassDistribution) -> None:
        shots = group_classes(distribution.image_counts, self.thresholds, many_inclusive=True, few_inclusive=True)
        groups = np.argmax([mask for _, mask in shots.items()], axis=0)  # (C,)
        order, device = np.argsort(groups, kind='stable'), self.expert_weight.device
        self.group_sizes = {name: int(mask.sum()) for name, mask in shots.items() if mask.any()}
        self.register_buffer('group', torch.as_tensor(groups, device=device), persistent=False)
        self.register_buffer('class_order', torch.as_tensor(order, device=device), persistent=False)
        self.register_buffer('place_of_class', torch.as_tensor(order.argsort(), device=device), persistent=False)

    def split(self, logits: Tensor) -> dict[str, Tensor]:
        """Split logits, (N, C), into those of each group of classes, in the order of the labels."""
        return dict(zip(self.group_sizes, logits[:, self.class_order].split([*self.group_sizes.values()], dim=1)))

    def join(self, logits: Mapping[str, Tensor]) -> Tensor:
        """Undo :meth:`split`; an error names experts of other classes than the groups."""
        self.get_class_distribution()
        widths = {name: value.size(1) for name, value in logits.items()}
        if widths != self.group_sizes:
            raise InputError(
                f'LFMELoss: expected experts of {self.group_sizes} classes, the groups of the training data by '
                f'thresholds={self.thresholds}, but got {widths}.'
            )
        return torch.cat([logits[name] for name in self.group_sizes], dim=1)[:, self.place_of_class]

    def own_logits(self, teacher_logits: Tensor, label: Tensor) -> Tensor:
        """Return the logits of the expert of the true class, (N, C), -inf for the classes of the others."""
        return teacher_logits.masked_fill(self.group != self.group[label].unsqueeze(1), -torch.inf)

    # ------------------------------------------------------------------ state

    def needs_train_features(self, epoch: int) -> bool:
        """Ask once; a checkpoint brings the weights of the images."""
        return not len(self.curriculum.values)

    def on_train_features(self, outputs: TrainFeatures) -> None:
        """Compute the weight of each image from the confidence of its expert."""
        device = self.curriculum.values.device
        logits, label, sample_idx = (x.to(device) for x in (outputs.teacher_logits, outputs.label, outputs.sample_idx))
        confidence = self.own_logits(logits, label).softmax(1).gather(1, label.unsqueeze(1)).squeeze(1)  # (N,)
        lowest = logits.new_tensor(self.lowest_weights)[self.group]  # (C,)
        weights = curriculum_weights(confidence, label, lowest)
        self.curriculum.resize(int(sample_idx.max()) + 1)
        self.curriculum.values[sample_idx] = weights.double()

    def on_metrics(self, figures: dict[str, float]) -> None:
        """Update the weights of the experts after a validation."""
        names = {prefix: [f'{prefix}/{group}' for group in self.group_sizes] for prefix in ('long_tail', 'teacher')}
        missing = [name for group in names.values() for name in group if name not in figures]
        if missing:
            raise MissingInputError(
                f'LFMELoss needs {missing} of the validation: val_evaluator = [dict(type="ltmm.LongTailMetric", '
                'convention="oltr"), dict(type="ltmm.TeacherMetric")], and images of all groups.'
            )
        student, expert = (self.expert_weight.new_tensor([figures[name] for name in group]) for group in names.values())
        rows = [SHOT_NAMES.index(group) for group in self.group_sizes]
        self.expert_weight[rows] = expert_weights(student, expert, self.threshold)

    # ------------------------------------------------------------------ loss

    def _check(self, inputs: LossInputs) -> None:
        self.check_logits(inputs.cls_score)
        check_soft_labels(self, inputs.label)
        if not len(self.curriculum.values):
            raise MissingInputError(
                "LFMELoss needs the confidence of the experts: add dict(type='ltmm.TrainFeaturesHook') to "
                "custom_hooks, as ltmm's default_runtime.py does, or call on_train_features(outputs)."
            )

    def terms(self, inputs: LossInputs) -> dict[str, Tensor]:
        weight = self.curriculum.read(inputs.sample_idx)  # (N,)
        factor = scheduled_weights(weight, self.epoch + 1, self.max_epochs).to(inputs.cls_score)
        logits = factor.unsqueeze(1) * inputs.cls_score
        num = divisor(len(logits), logits)
        terms = dict(loss_cls=F.cross_entropy(logits, inputs.label, reduction='sum') / num)
        students, teachers = self.split(logits / self.temperature), self.split(inputs.teacher_logits / self.temperature)
        for group, student in students.items():
            expert_weight = self.expert_weight[SHOT_NAMES.index(group)].to(logits)
            terms[f'loss_{group}'] = expert_weight * kl_divergence(teachers[group], student).sum() / num
        return terms

    def extra_repr(self) -> str:
        return f'temperature={self.temperature}, threshold={self.threshold}, lowest_weights={self.lowest_weights}'
