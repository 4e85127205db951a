"""How often each class occurs in the training data: the one object every long-tailed method is a function of."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ltmm.utils.class_counts import (
    ClassDistributionError,
    checked_co_occurrence,
    checked_counts,
    counts_by_name,
    read_counts,
)

__all__ = ['ClassDistribution', 'ClassDistributionError', 'Shots', 'missing_distribution_error']

WEIGHT_KINDS = ('inverse', 'sqrt_inverse', 'effective_number')
SHOT_NAMES = ('many', 'medium', 'few')


def missing_distribution_error(name: str) -> RuntimeError:
    """The error of a module that needs the class distribution before it has one; it says how to give it.

    Args:
        name: class name of the module.
    """
    return RuntimeError(
        f'{name} needs the class distribution of the training data, but has none. Either add '
        f"custom_hooks = [dict(type='ltmm.ClassDistributionHook')] to the config (as ltmm's default_runtime.py "
        f'does), which counts the training set, or give {name}(class_counts=[...]) yourself; at test time it '
        f'comes with a checkpoint that ltmm trained.'
    )


@dataclass(frozen=True)
class Shots:
    """Boolean masks (C,) of the many-, medium- and few-shot classes."""

    many: np.ndarray
    medium: np.ndarray
    few: np.ndarray

    def items(self) -> list[tuple[str, np.ndarray]]:
        """The three masks with their names, many first."""
        return [(name, getattr(self, name)) for name in SHOT_NAMES]

    def names(self) -> list[str]:
        """The group each class belongs to, as a list of C strings."""
        return [SHOT_NAMES[i] for i in np.argmax([self.many, self.medium, self.few], axis=0)]


@dataclass(frozen=True, eq=False)
class ClassDistribution:
    r"""Counts of the training data per class, and everything that is derived from them alone.

    Classes without a training sample stay in their place with a count of zero. One policy holds for them everywhere:
    their prior is 0 (log-prior :math:`-\infty`), their loss weight is 0, and normalisations run over the classes that
    do occur. Nothing derived from a zero count is ever NaN.

    Args:
        instance_counts: labelled instances per class, (C,); for image classification the images of each class.
        image_counts: images that hold at least one instance of the class, (C,); equal to ``instance_counts`` when
            left out.
        num_images: all images of multi-label data, those with an object of detection data; the sum of
            ``image_counts`` when left out (right for data with one label an image only).
        class_names: C names, in label order.
        co_occurrence: images that hold both of two classes, (C, C), their diagonal ``image_counts``; known of
            multi-label data only, else None.

    Raises:
        ClassDistributionError: counts that are negative, not whole, not one-dimensional, all zero, or of
            another number than the names; a co-occurrence that contradicts them.
    """

    instance_counts: np.ndarray
    image_counts: np.ndarray = None
    num_images: int = None
    class_names: tuple[str, ...] = field(default=None)
    co_occurrence: np.ndarray | None = None

    def __post_init__(self) -> None:
        instance_counts = checked_counts(self.instance_counts, 'instance_counts')
        image_counts = (
            instance_counts if self.image_counts is None else checked_counts(self.image_counts, 'image_counts')
        )
        num_classes = len(instance_counts)
        if len(image_counts) != num_classes:
            raise ClassDistributionError(
                f'Expected `image_counts` to have {num_classes} entries like `instance_counts`, '
                f'but got {len(image_counts)}.'
            )
        num_images = int(image_counts.sum() if self.num_images is None else self.num_images)
        if num_images < image_counts.max():
            raise ClassDistributionError(
                f'Expected `num_images` to be at least the largest image count {image_counts.max()}, '
                f'but got {num_images}.'
            )
        names = self.class_names
        if names is not None:
            names = tuple(str(name) for name in names)
            if len(names) != num_classes:
                raise ClassDistributionError(f'Expected {num_classes} class names, but got {len(names)}.')
        if self.co_occurrence is not None:
            object.__setattr__(self, 'co_occurrence', checked_co_occurrence(self.co_occurrence, image_counts))
        for name, value in (
            ('instance_counts', instance_counts),
            ('image_counts', image_counts),
            ('num_images', num_images),
            ('class_names', names),
        ):
            object.__setattr__(self, name, value)

    # ------------------------------------------------------------------ ways in

    @classmethod
    def build(cls, source: Any, class_names: Sequence[str] | None = None) -> 'ClassDistribution':
        """Build from a distribution, a list of counts, ``{class name: count}`` or a file.

        Args:
            source: a :class:`ClassDistribution`; C counts; a mapping from class name to count, which needs
                ``class_names`` to know the label order (its own order is used without them); the path of a
                ``.json`` (list, ``{name: count}``, or the dictionary of :meth:`to_dict`) or ``.npy`` file. A dataset is
                counted by :func:`ltmm.datasets.class_distribution_of`.
            class_names: C names in label order.

        Raises:
            ClassDistributionError: an unknown or a missing class name, or a file that does not hold counts.
            FileNotFoundError: no such file.
        """
        if isinstance(source, cls):
            return source
        if isinstance(source, (str, Path)):
            return cls.build(read_counts(Path(source)), class_names)
        if isinstance(source, Mapping):
            if 'instance_counts' in source:
                return cls(**{'class_names': class_names, **source})
            return cls(counts_by_name(source, class_names), class_names=class_names or tuple(source))
        if class_names and len(source) != len(class_names):
            raise ClassDistributionError(
                f'Expected `class_counts` to have {len(class_names)} entries, one a class of the dataset, '
                f'but got {len(source)}.'
            )
        return cls(source, class_names=class_names)

    @classmethod
    def from_state_dict(cls, state_dict: Mapping) -> 'ClassDistribution | None':
        """The distribution a checkpoint carries, or None where it carries none."""
        suffix = 'class_distribution.instance_counts'
        for key, value in state_dict.items():
            if key.endswith(suffix) and len(value):
                prefix = key[: -len('instance_counts')]
                return cls(
                    value.cpu().numpy(),
                    state_dict[prefix + 'image_counts'].cpu().numpy(),
                    int(state_dict[prefix + 'num_images']),
                )
        return None

    def to_dict(self) -> dict:
        """Plain lists, for json; :meth:`build` reads it back."""
        return dict(
            instance_counts=self.instance_counts.tolist(),
            image_counts=self.image_counts.tolist(),
            num_images=self.num_images,
            class_names=list(self.class_names) if self.class_names else None,
            co_occurrence=None if self.co_occurrence is None else self.co_occurrence.tolist(),
        )

    # ------------------------------------------------------------------ what it knows

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
        """Number of classes C, those without a sample included; a background class is not one of them."""
        return len(self.instance_counts)

    @property
    def prior(self) -> np.ndarray:
        """Share of each class among all instances, float64, (C,)."""
        return self.instance_counts / self.instance_counts.sum()

    @property
    def log_prior(self) -> np.ndarray:
        """Logarithm of :attr:`prior`, (C,); minus infinity where a class has no sample."""
        with np.errstate(divide='ignore'):
            return np.log(self.prior)

    @property
    def image_frequency(self) -> np.ndarray:
        """Share of the images that hold each class, (C,): LVIS's f(c)."""
        return self.image_counts / self.num_images

    def effective_number(self, beta: float) -> np.ndarray:
        r"""Effective number of samples :math:`(1-\beta^n)/(1-\beta)` per class, (C,) (Cui et al., CVPR 2019).

        Args:
            beta: in [0, 1); 0 counts every class that occurs as one.
        """
        if not 0 <= beta < 1:
            raise ValueError(f'Expected `beta` to be in [0, 1), but got {beta}.')
        return -np.expm1(self.instance_counts * np.log(beta)) / (1 - beta) if beta else self._occurs.astype(float)

    def weights(self, kind: str, *, beta: float | None = None, power: float | None = None) -> np.ndarray:
        """Loss weights per class, (C,), with mean 1 over the classes that occur, and 0 for the others.

        Args:
            kind: ``'inverse'`` (1/n), ``'sqrt_inverse'`` (1/sqrt n) or ``'effective_number'`` (needs ``beta``).
            beta: see :meth:`effective_number`.
            power: replaces the exponent of ``'inverse'``: 1/n^power; at least 0.
        """
        if kind not in WEIGHT_KINDS:
            raise ValueError(f'Expected `kind` to be one of {sorted(WEIGHT_KINDS)}, but got {kind!r}.')
        if (beta is not None) != (kind == 'effective_number'):
            raise ValueError(f"`beta` belongs to kind='effective_number', but got kind={kind!r} and beta={beta}.")
        if power is not None and kind != 'inverse':
            raise ValueError(f"`power` belongs to kind='inverse', but got kind={kind!r} and power={power}.")
        if power is not None and not 0 <= power < np.inf:
            raise ValueError(f'Expected `power` to be at least 0, but got {power}.')
        if kind == 'effective_number':
            scarcity = self.effective_number(beta)
        else:
            scarcity = self.instance_counts ** (0.5 if kind == 'sqrt_inverse' else 1.0 if power is None else power)
        weights = np.zeros(self.num_classes)
        np.divide(1, scarcity, out=weights, where=self._occurs)
        return weights * self._occurs.sum() / weights.sum()

    def shots(self, many: int = 100, few: int = 20, inclusive: bool = False) -> Shots:
        """Groups of classes by training images.

        Args:
            many: more images than this: many-shot.
            few: fewer images than this: few-shot; the rest is medium-shot.
            inclusive: count a class that has exactly ``many`` (``few``) images as many-shot (few-shot), as OLTR does.
        """
        if few > many:
            raise ValueError(f'Expected `few` <= `many`, but got few={few} and many={many}.')
        n = self.image_counts
        is_many = n >= many if inclusive else n > many
        is_few = (n <= few if inclusive else n < few) & ~is_many
        return Shots(many=is_many, medium=~is_many & ~is_few, few=is_few)

    def ranked_shots(self, many: int, few: int) -> Shots:
        """Groups by rank, as MiSLAS does: the ``many`` most frequent classes, the ``few`` least frequent, the rest."""
        if many + few > self.num_classes:
            raise ValueError(f'Expected many + few <= {self.num_classes} classes, but got {many} + {few}.')
        rank = np.empty(self.num_classes, dtype=np.int64)
        rank[np.argsort(-self.image_counts, kind='stable')] = np.arange(self.num_classes)
        is_many, is_few = rank < many, rank >= self.num_classes - few
        return Shots(many=is_many, medium=~is_many & ~is_few, few=is_few)

    def image_groups(self, bounds: Sequence[int]) -> np.ndarray:
        """Group of each class by training images, (C,): how many of ``bounds`` it has more images than.

        Args:
            bounds: G - 1 ascending numbers of images, for groups 0 (rarest) to G - 1; (10, 100) gives LVIS's three.

        Raises:
            ValueError: bounds that do not ascend.
        """
        if any(low >= high for low, high in itertools.pairwise(bounds)):
            raise ValueError(f'Expected bounds of groups in ascending order, but got {tuple(bounds)}.')
        return np.searchsorted(bounds, self.image_counts, side='left')

    @property
    def lvis_frequency(self) -> np.ndarray:
        """LVIS's groups, (C,): 'r' up to 10 images, 'c' up to 100, 'f' above."""
        return np.select([self.image_counts <= 10, self.image_counts <= 100], ['r', 'c'], 'f')

    def repeat_factors(self, threshold: float, power: float = 0.5) -> np.ndarray:
        r"""Repeat factor :math:`\max(1, (t/f_c)^{power})` per class, (C,); 1 for a class without images.

        Args:
            threshold: t, the share of images below which a class is repeated (1e-3 for LVIS).
            power: 0.5 in Gupta et al., LVIS, CVPR 2019.
        """
        if not 0 < threshold <= 1:
            raise ValueError(f'Expected `threshold` to be a share of the images in (0, 1], but got {threshold}.')
        factors = np.ones(self.num_classes)
        np.divide(threshold, self.image_frequency, out=factors, where=self.image_counts > 0)
        return np.maximum(factors, 1.0) ** power

    @property
    def imbalance_factor(self) -> float:
        """Largest count over the smallest count of a class that occurs."""
        return float(self.instance_counts.max() / self.instance_counts[self._occurs].min())

    @property
    def gini(self) -> float:
        """Gini coefficient of the counts: 0 for balanced data, towards 1 when one class has everything."""
        n, c = np.sort(self.instance_counts), self.num_classes
        return float((2 * np.arange(1, c + 1) - c - 1) @ n / (c * n.sum()))

    @property
    def empty_classes(self) -> np.ndarray:
        """Labels of the classes without a training instance."""
        return np.flatnonzero(~self._occurs)

    @property
    def _occurs(self) -> np.ndarray:
        return self.instance_counts > 0

    # ------------------------------------------------------------------ how it is shown

    def name_of(self, label: int) -> str:
        """``'apple (3)'``, or ``'class 3'`` where no names are known."""
        return f'{self.class_names[label]} ({label})' if self.class_names else f'class {label}'

    def rows(self, shots: Shots | None = None) -> list[dict]:
        """One dictionary a class, most frequent first: label, name, images, instances, share, shot."""
        groups = (shots or self.shots()).names()
        return [
            dict(
                label=int(c),
                name=self.class_names[c] if self.class_names else str(c),
                images=int(self.image_counts[c]),
                instances=int(self.instance_counts[c]),
                share=float(self.prior[c]),
                shot=groups[c],
            )
            for c in np.argsort(-self.instance_counts, kind='stable')
        ]

    def table(self, max_rows: int = 20) -> str:
        """A text table of the classes, most frequent first, its middle left out when there are many.

        Args:
            max_rows: classes to print at the most.
        """
        rows = self.rows()
        width = max(len(row['name']) for row in rows)
        line = '{label:>6}  {name:<{width}}  {images:>9}  {instances:>9}  {share:>8.3%}  {shot}'
        head = f'{"label":>6}  {"class":<{width}}  {"images":>9}  {"instances":>9}  {"share":>8}  shot'
        text = [line.format(**row, width=width) for row in rows]
        if len(text) > max_rows:
            hidden = len(text) - max_rows + 1
            start = max_rows // 2
            text[start : start + hidden] = [f'{"...":>6}  ({hidden} more)']
        return '\n'.join([self.summary(), head, *text])

    def summary(self) -> str:
        """One line: classes, images, imbalance factor, Gini, shots."""
        groups = ', '.join(f'{mask.sum()} {name}' for name, mask in self.shots().items())
        return (
            f'{self.num_classes} classes, {self.num_images} images, {self.instance_counts.sum()} instances, '
            f'imbalance factor {self.imbalance_factor:.1f}, Gini {self.gini:.3f}; shots: {groups}; '
            f'{len(self.empty_classes)} empty'
        )

    def __repr__(self) -> str:
        return f'ClassDistribution({self.summary()})'
