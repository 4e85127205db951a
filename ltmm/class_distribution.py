"""How often each class occurs in the training data, the input of every long-tailed method."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ltmm.utils.checks import check
from ltmm.utils.class_counts import (
    ClassDistributionError,
    checked_co_occurrence,
    checked_counts,
    is_by_name,
    read_counts,
    refuse_dataset,
    refuse_labels,
)
from ltmm.utils.class_names import check_class_names
from ltmm.utils.errors import InputError, MissingInputError, did_you_mean
from ltmm.utils.shots import SHOT_NAMES, Shots, group_classes

__all__ = ['ClassDistribution', 'ClassDistributionError', 'missing_distribution_error']

FREQUENCIES = dict(f='frequent', c='common', r='rare')  # of LVIS
GROUPS = dict(  # column of the table; names of the groups and their bounds
    shots=('shot', dict(many=' (> 100)', medium='', few=' (< 20)')),
    multi_label=('shot', dict(head=' (>= 100)', medium='', tail=' (< 20)')),
    lvis=('frequency', dict(frequent=' (> 100)', common='', rare=' (<= 10)')),
)


def _is_flat(labels: Any) -> bool:
    """Whether labels are a list, tuple or array of one number per sample."""
    if isinstance(labels, (list, tuple)):
        return not any(np.ndim(label) for label in labels if not isinstance(label, (int, float, np.number)))
    return isinstance(labels, np.ndarray) and labels.ndim != 2


def missing_distribution_error(name: str) -> MissingInputError:
    """Return the error of a module, by class name, without class distribution."""
    return MissingInputError(
        f'{name} needs the class distribution of the training data. Give {name}(class_counts=[...]), the images of '
        "each class; in a config, custom_hooks = [dict(type='ltmm.ClassDistributionHook')], as ltmm's "
        'default_runtime.py has it, counts them; or load a checkpoint that ltmm trained.'
    )


@dataclass(frozen=True, eq=False)
class ClassDistribution:
    r"""Class counts of the training data, and everything derived from them.

    Classes without a training sample keep their place, with a count of zero: their prior is 0 (log-prior
    :math:`-\infty`), their loss weight is 0, and normalizations run over the other classes. Nothing is ever NaN.

    Args:
        instance_counts: Labeled instances per class, (C,); in image classification the images of each class.
        image_counts: Images with at least one instance of the class, (C,). Default: ``instance_counts``.
        num_images: Number of images; in detection, of those with an object. Default: the sum of ``image_counts``,
            right for single-label data only.
        class_names: C names in label order.
        co_occurrence: Images that hold both of two classes, (C, C), for multi-label data.
    """

    instance_counts: np.ndarray
    image_counts: np.ndarray = None
    num_images: int = None
    class_names: tuple[str, ...] | None = None
    co_occurrence: np.ndarray | None = None

    def __post_init__(self) -> None:
        instances = checked_counts(self.instance_counts, 'instance_counts')
        images = instances if self.image_counts is None else checked_counts(self.image_counts, 'image_counts')
        num_images = int(images.sum() if self.num_images is None else self.num_images)
        names = self.class_names if self.class_names is None else tuple(map(str, self.class_names))
        if len(images) != len(instances) or (names is not None and len(names) != len(instances)):
            raise ClassDistributionError(
                f'Expected as many `image_counts` and `class_names` as `instance_counts`, {len(instances)}, but got '
                f'{len(images)} and {len(instances if names is None else names)}.'
            )
        if num_images < images.max():
            raise ClassDistributionError(f'Expected `num_images` to be >= {images.max()}, but got {num_images}.')
        co_occurrence = self.co_occurrence
        if co_occurrence is not None:
            co_occurrence = checked_co_occurrence(co_occurrence, images)
        for name, value in (
            ('instance_counts', instances),
            ('image_counts', images),
            ('num_images', num_images),
            ('class_names', names),
            ('co_occurrence', co_occurrence),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def build(cls, source: Any, class_names: Sequence[str] | None = None) -> 'ClassDistribution':
        """Build a distribution from counts. See :func:`ltmm.datasets.class_distribution_of` for datasets.

        Counts with class names are put in the order of ``class_names``.

        Args:
            source: A :class:`ClassDistribution`; C counts; ``{class name: count}``; or the path of a ``.json`` (counts,
                ``{class name: count}`` or the dictionary of :meth:`to_dict`) or ``.npy`` file.
            class_names: C names in label order. Default: the order of ``source``.
        """
        source = read_counts(source)
        if isinstance(source, cls):
            distribution = source
        elif is_by_name(source):
            distribution = cls(list(source.values()), class_names=tuple(source))
        elif isinstance(source, Mapping):
            distribution = cls(**source)
        else:
            refuse_dataset(source)
            if class_names is None:
                refuse_labels(source)
            distribution = cls(source)
        return distribution if class_names is None else distribution.in_label_order(class_names)

    @classmethod
    def from_labels(
        cls, labels: Any, num_classes: int | None = None, class_names: Sequence[str] | None = None
    ) -> 'ClassDistribution':
        """Count the labels of N samples.

        Args:
            labels: Class indices, one per sample, (N,); for multi-label data an array or tensor (N, C) of 1 (positive),
                0 (negative) and -1 (unknown), or a list of N lists of class indices.
            num_classes: C. Default: the number of ``class_names``, else one more than the highest label.
            class_names: C names in label order.
        """
        check(num_classes=(num_classes, 'int >= 1 or None'))
        if not _is_flat(labels):
            from ltmm.datasets.labels import read_labels

            return read_labels(labels, num_classes, class_names).class_distribution()
        labels = np.asarray(labels)
        if labels.ndim != 1 or labels.dtype.kind not in 'iu' or not len(labels):
            raise ClassDistributionError(
                f'Expected labels to be integers of shape (N,), but got {labels.dtype} of shape {labels.shape}.'
            )
        num_classes = num_classes or (len(class_names) if class_names else int(labels.max()) + 1)
        if labels.min() < 0 or labels.max() >= num_classes:
            raise ClassDistributionError(
                f'Expected labels in [0, {num_classes}), but got {labels.min()} to {labels.max()}.'
            )
        return cls(np.bincount(labels, minlength=num_classes), class_names=class_names)

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        labels: Any = None,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
    ) -> 'ClassDistribution':
        """Count the labels of a dataset of OpenMMLab, torchvision, PyTorch or Hugging Face.

        Args:
            dataset: A dataset, or its config in OpenMMLab: see :func:`ltmm.datasets.class_distribution_of`.
            labels: Labels of its samples, where the dataset does not offer them, see :meth:`from_labels`.
            num_classes: C. Default: that of the dataset, or one more than the highest label.
            class_names: C names in label order. Default: those of the dataset.
        """
        from ltmm.datasets.labels import class_distribution_of

        if labels is not None:
            if len(labels) != len(dataset):
                raise ClassDistributionError(f'Expected {len(dataset)} labels, but got {len(labels)}.')
            return cls.from_labels(labels, num_classes, class_names)
        distribution = class_distribution_of(dataset)
        if num_classes is None and class_names is not None and distribution.class_names is None:
            num_classes = len(class_names)
        if num_classes is not None:
            distribution = distribution.padded(num_classes)
        return distribution if class_names is None else replace(distribution, class_names=tuple(class_names))

    @classmethod
    def from_state_dict(
        cls, state_dict: Mapping, class_names: Sequence[str] | None = None
    ) -> 'ClassDistribution | None':
        """Return the distribution stored in a checkpoint, or None.

        Args:
            state_dict: Its ``state_dict``.
            class_names: The names in its ``meta``, see :func:`ltmm.utils.class_names.class_names_of`.
        """
        for key, value in state_dict.items():
            if key.endswith('class_distribution.instance_counts') and value.numel():
                prefix = key.removesuffix('instance_counts')
                images, num_images = (state_dict.get(prefix + name) for name in ('image_counts', 'num_images'))
                if value.dim() != 1 or images is None or num_images is None or num_images.numel() != 1:
                    raise ClassDistributionError(
                        f'The class distribution in the checkpoint ({prefix}*) is damaged. Train or download it again.'
                    )
                names = class_names if class_names and len(class_names) == len(value) else None
                return cls(value.cpu().numpy(), images.cpu().numpy(), int(num_images), names)
        return None

    def padded(self, num_classes: int) -> 'ClassDistribution':
        """Return the distribution with classes without samples at the end, up to ``num_classes``."""
        more = num_classes - len(self)
        if more < 0 or (more and self.class_names is not None):
            raise ClassDistributionError(
                f'Expected `num_classes` to be {len(self)}, as in the data, got {num_classes}.'
            )
        return replace(
            self,
            instance_counts=np.pad(self.instance_counts, (0, more)),
            image_counts=np.pad(self.image_counts, (0, more)),
            co_occurrence=None if self.co_occurrence is None else np.pad(self.co_occurrence, (0, more)),
        )

    def in_label_order(self, class_names: Sequence[str]) -> 'ClassDistribution':
        """Return the distribution in the order of these class names; without own names, its order is kept.

        Args:
            class_names: C names in label order.
        """
        names = tuple(map(str, class_names))
        if self.class_names is not None:
            known, own = set(names), set(self.class_names)
            if wrong := [name for name in self.class_names if name not in known] + [n for n in names if n not in own]:
                valid = ', '.join(names[:10]) + ', ...' * (len(names) > 10)
                raise ClassDistributionError(
                    f'Expected `class_counts` to name all {len(names)} classes of the dataset, but {wrong[0]!r} is '
                    f'unknown or missing.{did_you_mean(wrong[0], known ^ own - {wrong[0]})} Valid names: {valid}.'
                )
        if len(names) != len(self):
            raise ClassDistributionError(f'Expected `class_counts` to have {len(names)} entries, but got {len(self)}.')
        if self.class_names is None or self.class_names == names:
            return replace(self, class_names=names)
        order = np.empty(len(self), dtype=np.int64)  # a name that occurs twice keeps its order
        order[np.argsort(names, kind='stable')] = np.argsort(self.class_names, kind='stable')
        return replace(
            self,
            instance_counts=self.instance_counts[order],
            image_counts=self.image_counts[order],
            class_names=names,
            co_occurrence=None if self.co_occurrence is None else self.co_occurrence[np.ix_(order, order)],
        )

    def check_classes(self, class_names: Sequence[str] | None, where: str) -> None:
        """Raise if labels stand for other classes in other data, warn of names that differ; see the rule in
        :func:`ltmm.utils.class_names.check_class_names`.

        Args:
            class_names: Class names of the other data in label order, or None if unknown.
            where: Name of the other data, such as ``'the test set'``.
        """
        if not class_names:
            return
        if self.class_names is not None:
            check_class_names(self.class_names, class_names, where)
        elif len(class_names) != len(self):
            raise ClassDistributionError(
                f'Expected the {len(self)} classes of the training data in {where}, but it has {len(class_names)}.'
            )

    def to_dict(self) -> dict:
        """Return a dictionary of plain lists, for json; :meth:`build` reads it."""
        return dict(
            instance_counts=self.instance_counts.tolist(),
            image_counts=self.image_counts.tolist(),
            num_images=self.num_images,
            class_names=list(self.class_names) if self.class_names else None,
            co_occurrence=None if self.co_occurrence is None else self.co_occurrence.tolist(),
        )

    def __len__(self) -> int:
        return len(self.instance_counts)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, ClassDistribution)
            and np.array_equal(self.instance_counts, other.instance_counts)
            and np.array_equal(self.image_counts, other.image_counts)
            and self.num_images == other.num_images
        )

    __hash__ = None

    @property
    def num_classes(self) -> int:
        """Number of classes C, with those without samples, without a background class."""
        return len(self.instance_counts)

    @property
    def prior(self) -> np.ndarray:
        """Share of each class among all instances, float64, (C,)."""
        return self.instance_counts / self.instance_counts.sum()

    @property
    def log_prior(self) -> np.ndarray:
        """Logarithm of :attr:`prior`, (C,); minus infinity for a class without samples."""
        with np.errstate(divide='ignore'):
            return np.log(self.prior)

    @property
    def image_frequency(self) -> np.ndarray:
        """Share of the images that hold each class, (C,): f(c) of LVIS."""
        return self.image_counts / self.num_images

    def effective_number(self, beta: float) -> np.ndarray:
        r"""Return the effective number of samples :math:`(1-\beta^n)/(1-\beta)` per class, (C,).

        Args:
            beta: In [0, 1), see Cui et al., CVPR 2019; 0 gives 1 for every class with samples.
        """
        check(beta=(beta, 'in [0, 1)'))
        return -np.expm1(self.instance_counts * np.log(beta)) / (1 - beta) if beta else self._occurs.astype(float)

    def weights(self, kind: str, *, beta: float | None = None, power: float | None = None) -> np.ndarray:
        """Return loss weights per class, (C,), with mean 1 over the classes with samples, and 0 for the others.

        Args:
            kind: ``'inverse'`` (1/n), ``'sqrt_inverse'`` (1/sqrt n) or ``'effective_number'``.
            beta: See :meth:`effective_number`; for this kind only.
            power: Exponent of ``'inverse'``, 1/n^power, at least 0; for this kind only. Default: 1.
        """
        check(kind=(kind, ('inverse', 'sqrt_inverse', 'effective_number')), power=(power, '>= 0 or None'))
        if (beta is not None) != (kind == 'effective_number') or (power is not None and kind != 'inverse'):
            raise InputError(
                f"`beta` belongs to kind='effective_number' and `power` belongs to kind='inverse', but got {kind=}, "
                f'{beta=}, {power=}.'
            )
        if kind == 'effective_number':
            rarity = self.effective_number(beta)
        else:
            rarity = self.instance_counts ** (0.5 if kind == 'sqrt_inverse' else 1.0 if power is None else power)
        weights = np.zeros(self.num_classes)
        np.divide(1, rarity, out=weights, where=self._occurs)
        return weights * self._occurs.sum() / weights.sum()

    def shots(self, many: int = 100, few: int = 20, inclusive: bool = False) -> Shots:
        """Group the classes by training images.

        Args:
            many: Many-shot classes have more images.
            few: Few-shot classes have fewer images; all others are medium-shot.
            inclusive: Count classes of exactly ``many`` (``few``) images as many-shot (few-shot), as OLTR does.
        """
        return group_classes(self.image_counts, (many, few), many_inclusive=inclusive, few_inclusive=inclusive)

    def ranked_shots(self, many: int, few: int) -> Shots:
        """Group the classes by rank, as MiSLAS does: the ``many`` most, the ``few`` least frequent, and the others."""
        return group_classes(self.image_counts, dict(rank=(many, few)))

    def image_groups(self, bounds: Sequence[int]) -> np.ndarray:
        """Return the group of each class by training images, (C,), 0 the rarest.

        Args:
            bounds: Ascending maximum numbers of images of all groups but the last; (10, 100) gives those of LVIS.
        """
        if any(low >= high for low, high in itertools.pairwise(bounds)):
            raise InputError(f'Expected ascending bounds of groups, but got {tuple(bounds)}.')
        return np.searchsorted(bounds, self.image_counts, side='left')

    @property
    def lvis_frequency(self) -> np.ndarray:
        """Groups of LVIS, (C,): 'r' up to 10 images, 'c' up to 100, 'f' above."""
        return np.array(['r', 'c', 'f'])[self.image_groups((10, 100))]

    def repeat_factors(self, threshold: float, power: float = 0.5) -> np.ndarray:
        r"""Return the repeat factor :math:`\max(1, (t/f_c)^{power})` per class, (C,); 1 for a class without images.

        Args:
            threshold: t, the share of images below which a class is repeated (1e-3 for LVIS).
            power: 0.5 in Gupta et al., LVIS, CVPR 2019.
        """
        check(threshold=(threshold, 'in (0, 1]'))
        factors = np.ones(self.num_classes)
        np.divide(threshold, self.image_frequency, out=factors, where=self.image_counts > 0)
        return np.maximum(factors, 1.0) ** power

    @property
    def imbalance_factor(self) -> float:
        """Largest over smallest count, without classes without samples."""
        return float(self.instance_counts.max() / self.instance_counts[self._occurs].min())

    @property
    def gini(self) -> float:
        """Gini coefficient of the counts: 0 for balanced data, close to 1 if one class has almost all samples."""
        n, c = np.sort(self.instance_counts), self.num_classes
        return float((2 * np.arange(1, c + 1) - c - 1) @ n / (c * n.sum()))

    @property
    def empty_classes(self) -> np.ndarray:
        """Labels of the classes without samples."""
        return np.flatnonzero(~self._occurs)

    @property
    def _occurs(self) -> np.ndarray:
        return self.instance_counts > 0

    def name_of(self, label: int) -> str:
        """Return ``'apple (3)'``, or ``'class 3'`` without class names."""
        return f'{self.class_names[label]} ({label})' if self.class_names else f'class {label}'

    def groups(self, of: str | Shots = 'shots') -> list[tuple[str, np.ndarray]]:
        """Return the names and masks (C,) of the groups of classes by training images, most frequent first.

        Args:
            of: ``'shots'`` for many (> 100), medium, few (< 20); ``'multi_label'`` for head (>= 100), medium, tail
                (< 20); ``'lvis'`` for frequent (> 100), common, rare (<= 10); or the groups themselves.
        """
        if isinstance(of, Shots):
            return of.items()
        check(of=(of, GROUPS))
        if of == 'lvis':
            return [(word, self.lvis_frequency == letter) for letter, word in FREQUENCIES.items()]
        shots = self.shots() if of == 'shots' else self.shots(many=99)
        return list(zip(GROUPS[of][1], (shots.many, shots.medium, shots.few)))

    def rows(self, groups: str | Shots = 'shots') -> list[dict]:
        """Return a dictionary per class, most frequent first: label, name, images, instances, share, shot.

        Args:
            groups: See :meth:`groups`; with ``'lvis'``, ``frequency`` takes the place of ``shot``.
        """
        names, masks = zip(*self.groups(groups))
        group_of, (column, _) = np.argmax(masks, axis=0), _labels_of(groups)
        return [
            dict(
                label=int(c),
                name=self.class_names[c] if self.class_names else str(c),
                images=int(self.image_counts[c]),
                instances=int(self.instance_counts[c]),
                share=float(self.prior[c]),
                **{column: names[group_of[c]]},
            )
            for c in np.argsort(-self.instance_counts, kind='stable')
        ]

    def table(self, max_rows: int = 20, groups: str | Shots = 'shots') -> str:
        """Return a text table of at most ``max_rows`` of the most and the least frequent classes.

        Args:
            max_rows: Rows of the table.
            groups: See :meth:`groups`.
        """
        rows, (column, _) = self.rows(groups), _labels_of(groups)
        width = max(len(row['name']) for row in rows)
        line = f'{{label:>6}}  {{name:<{width}}}  {{images:>9}}  {{instances:>9}}  {{share:>8.3%}}  {{{column}}}'
        header = f'{"label":>6}  {"class":<{width}}  {"images":>9}  {"instances":>9}  {"share":>8}  {column}'
        text = [line.format(**row) for row in rows]
        if len(text) > max_rows:
            hidden, start = len(text) - max_rows + 1, max_rows // 2
            text[start : start + hidden] = [f'{"...":>6}  ({hidden} more)']
        return '\n'.join([self.summary(groups), header, *text])

    def summary(self, groups: str | Shots = 'shots') -> str:
        """Return one line with classes, images, imbalance factor, Gini coefficient and the groups of classes.

        Args:
            groups: See :meth:`groups`.
        """
        _, bounds = _labels_of(groups)
        sizes = ', '.join(f'{mask.sum()} {name}{bounds[name]}' for name, mask in self.groups(groups))
        return (
            f'{self.num_classes} classes, {self.num_images} images, {self.instance_counts.sum()} instances, '
            f'imbalance factor {self.imbalance_factor:.1f}, Gini {self.gini:.3f}; by training images: {sizes}; '
            f'{len(self.empty_classes)} empty'
        )

    def __repr__(self) -> str:
        return f'ClassDistribution({self.summary()})'


def _labels_of(groups: str | Shots) -> tuple[str, dict[str, str]]:
    """Return the column of the groups in a table, and what stands behind their names."""
    return ('shot', dict.fromkeys(SHOT_NAMES, '')) if isinstance(groups, Shots) else GROUPS[groups]
