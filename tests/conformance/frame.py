"""Cases of the authors' numbers, adaptors that compute them with ltmm, and the verdict on each case."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .compare import relative_error, to_numpy, tolerance

__all__ = ['ADAPTORS', 'Case', 'adaptor', 'read_cases', 'verdict']

LISTS = ('init', 'init_teacher', 'state', 'epoch_of_step')  # beside the hyper-parameters of a trajectory


class RecordingDict(Mapping):
    """A read-only dictionary that records which of its keys were read, nested ones included."""

    def __init__(self, values: Mapping) -> None:
        self._values = {k: RecordingDict(v) if isinstance(v, dict) else v for k, v in values.items()}
        self.read: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        self.read.add(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def unread(self) -> Iterator[str]:
        """Keys that were not read; those of a dictionary that was read as ``key.inner``."""
        for key, value in self._values.items():
            if key not in self.read:
                yield key
            elif isinstance(value, RecordingDict):
                yield from (f'{key}.{inner}' for inner in value.unread())


@dataclass
class Case:
    """One case of a method, as an adaptor sees it.

    ``case['logits']`` is a tensor, ``case.arrays['logits']`` the numpy array, ``case.params['reduction']`` a
    hyper-parameter. What is read is recorded: a number that an adaptor neither reads nor returns fails the case.

    Args:
        method: name of the method.
        name: name of the case.
        params: hyper-parameters.
        arrays: inputs and outputs by name.
        called: the call, in words.
    """

    method: str
    name: str
    params: RecordingDict
    arrays: RecordingDict
    called: str = ''
    checks: list[tuple[str, Any, Any, Any]] = field(default_factory=list)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the case: the finest of its floating-point arrays."""
        kinds = {array.dtype.name for array in self.arrays._values.values() if array.dtype.kind == 'f'}
        return torch.float32 if kinds == {'float32'} else torch.float64

    def __contains__(self, name: str) -> bool:
        return name in self.arrays

    def __getitem__(self, name: str) -> Tensor:
        """An array as a fresh tensor: whole numbers as int64, floating-point numbers in the precision of the case."""
        tensor = torch.tensor(self.arrays[name])
        if tensor.dtype.is_floating_point:
            return tensor.to(self.dtype)
        return tensor if tensor.dtype == torch.bool else tensor.long()

    def argument(self, name: str, default: float) -> float:
        """The number in ``name=0.5`` or ``name 0.5`` in the text of the call; ``default`` where it says none."""
        match = re.search(rf'(?<!\w){name}[ =]{{1,3}}(-?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)', self.called)
        return float(match[1]) if match else default

    def check(self, name: str, got: Any, expected: Any, size: Any = None) -> None:
        """Compare what follows from an array, where the array itself cannot be computed again.

        Args:
            name: of what is compared.
            got: by ltmm.
            expected: by the authors.
            size: what the error of each element is measured against; the element itself when left out.
        """
        self.checks.append((name, got, expected, size))

    def loss_and_grad(
        self, loss: nn.Module, wrt: str = 'logits', label: str = 'target', grad: str | None = None, **kwargs: Any
    ) -> dict[str, Tensor]:
        """``'loss'`` = loss(array ``wrt``, array ``label``), and the gradient of its sum.

        Args:
            loss: the loss.
            wrt: name of the array the loss is differentiated by.
            label: name of the array of labels.
            grad: name of the gradient; ``grad_<wrt>`` when left out.
            kwargs: further arguments of the loss.
        """
        score = self[wrt].requires_grad_()
        value = loss(score, self[label], **kwargs)
        value.sum().backward()
        return {'loss': value, grad or f'grad_{wrt}': score.grad}


@dataclass(frozen=True)
class Adaptor:
    """How ltmm computes the numbers of a method, what of them it leaves out, and whether a case takes seconds."""

    compute: Callable[[Case], Mapping[str, Any]]
    ignores: Mapping[str, str]
    slow: bool = False


ADAPTORS: dict[str, Adaptor] = {}


def adaptor(method: str, ignores: Mapping[str, str] | None = None, slow: bool = False) -> Callable:
    """Register a function from a :class:`Case` to ``{name of an array: what ltmm computes for it}``.

    Args:
        method: name of the method, as in its json.
        ignores: ``{name: reason}`` of arrays and hyper-parameters that cannot be compared or are not needed; the names
            may hold ``*``. The reasons are printed below the table.
        slow: mark its tests ``slow``.
    """

    def register(compute: Callable) -> Callable:
        if method in ADAPTORS:
            raise ValueError(f'Expected one adaptor a method, but got a second one for {method!r}.')
        ADAPTORS[method] = Adaptor(compute, ignores or {}, slow)
        return compute

    return register


def read_cases(folder: Path) -> dict[str, list[Case]]:
    """All cases of a folder of ``<method>.json`` and ``.npz`` files, by method.

    Raises:
        FileNotFoundError: no json in the folder, or no npz beside one.
        ValueError: a json whose arrays are not those of its npz.
    """
    files = sorted(folder.glob('*.json'))
    if not files:
        raise FileNotFoundError(f'Expected <method>.json files in {folder}, but found none.')
    return dict(_read_method(file) for file in files)


def _read_method(file: Path) -> tuple[str, list[Case]]:
    content = json.loads(file.read_text())
    with np.load(file.with_suffix('.npz'), allow_pickle=False) as npz:
        arrays = {key: npz[key] for key in npz.files}
    listed = {f'{name}/{array}' for name, case in content['cases'].items() for array in case['arrays']}
    if listed != set(arrays):
        raise ValueError(f'{file.name} and its npz differ in the arrays {sorted(listed ^ set(arrays))}.')
    return file.stem, [
        Case(
            file.stem,
            name,
            RecordingDict({**case['params'], **{k: case[k] for k in LISTS if k in case}}),
            RecordingDict({array: arrays[f'{name}/{array}'] for array in case['arrays']}),
            case.get('called', ''),
        )
        for name, case in content['cases'].items()
    ]


@dataclass
class Verdict:
    """How a case went: ``largest_error`` of the ``num_compared`` arrays, and what is wrong, one line each."""

    num_compared: int = 0
    largest_error: float = 0.0
    problems: list[str] = field(default_factory=list)


def verdict(case: Case, adaptor: Adaptor) -> Verdict:
    """Run the adaptor on the case and compare every number."""
    result = Verdict()
    outputs = dict(adaptor.compute(case))
    unknown = sorted(outputs.keys() - case.arrays.keys())
    if unknown:
        result.problems.append(f'the adaptor returns {unknown}, which the case does not hold')
    for name, got in outputs.items():
        if name in case:
            _compare(name, to_numpy(got), case.arrays[name], result)
    for name, got, expected, size in case.checks:
        _compare(name, to_numpy(got), to_numpy(expected), result, size)
    for kind, values in (('arrays', case.arrays), ('hyper-parameters', case.params)):
        unread = sorted(name for name in values.unread() if not any(fnmatchcase(name, i) for i in adaptor.ignores))
        if unread:
            result.problems.append(f'{kind} neither read nor returned by the adaptor: {unread}')
    if not result.num_compared:
        result.problems.append('the adaptor compares nothing')
    return result


def _compare(name: str, got: np.ndarray, expected: np.ndarray, result: Verdict, size: np.ndarray | None = None) -> None:
    """Add the comparison of one array to ``result``."""
    result.num_compared += 1
    if got.shape != expected.shape:
        result.problems.append(f'{name}: expected shape {expected.shape}, but got {got.shape}')
        return
    if not expected.size:
        return
    error = relative_error(got, expected, size)
    worst = np.unravel_index(error.argmax(), error.shape)
    result.largest_error = max(result.largest_error, float(error[worst]))
    if error[worst] > tolerance(expected):
        result.problems.append(
            f'{name}: {(error > tolerance(expected)).sum()} of {error.size} differ; at {tuple(map(int, worst))} '
            f'expected {expected[worst]!r}, but got {got[worst]!r}: relative error {error[worst]:.1e}, '
            f'allowed {tolerance(expected):.0e}'
        )
