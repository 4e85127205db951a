"""The frame must be able to fail."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from .compare import relative_error, tolerance
from .frame import ADAPTORS, Adaptor, Case, RecordingDict, adaptor, read_cases, verdict

ROOT = Path(__file__).parents[2]


def case_of(params: dict | None = None, **arrays: np.ndarray) -> Case:
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    return Case('doubling', 'a', RecordingDict(params or {}), RecordingDict(arrays))


def problems(case: Case, compute: Callable, **ignores: str) -> str:
    return '\n'.join(verdict(case, Adaptor(compute, ignores)).problems)


def write_method(folder: Path, method: str, cases: dict[str, dict]) -> None:
    """The files of a method; a case is ``{'params': ..., name of an array: array, ...}``."""
    arrays = {
        f'{case}/{k}': np.asarray(v) for case, values in cases.items() for k, v in values.items() if k != 'params'
    }
    np.savez(folder / f'{method}.npz', **arrays)
    content = {
        case: dict(
            called='',
            params=values.get('params', {}),
            arrays={
                k: dict(shape=np.shape(v), dtype=str(np.asarray(v).dtype)) for k, v in values.items() if k != 'params'
            },
        )
        for case, values in cases.items()
    }
    (folder / f'{method}.json').write_text(json.dumps(dict(method=method, about='', cases=content)))


# ------------------------------------------------------------------ comparing


@pytest.mark.parametrize(('dtype', 'allowed'), [(np.float64, 1e-6), (np.float32, 1e-4)])
def test_tolerance_follows_the_precision_of_the_authors_numbers(dtype: type, allowed: float) -> None:
    expected = np.array([[1.0, -2.0], [0.0, 3.0]], dtype)
    assert tolerance(expected) == allowed
    case = case_of(double=expected)
    assert not problems(case, lambda case: dict(double=expected.astype(float) * (1 + 0.9 * allowed)))
    assert '3 of 4 differ' in problems(case, lambda case: dict(double=expected.astype(float) * (1 + 1.1 * allowed)))


def test_small_elements_are_not_hidden_by_large_ones() -> None:
    expected = np.array([1e4, 1e-1])
    assert relative_error(np.array([1e4, 1.00001e-1]), expected).max() == pytest.approx(1e-5, rel=1e-3)


def test_rounding_next_to_a_large_element_is_forgiven() -> None:
    expected = np.array([1.0, 1e-17, 0.0])
    assert relative_error(np.array([1.0, 3e-17, -1e-16]), expected).max() < 1e-6


def test_zeros_are_measured_against_one() -> None:
    assert (
        relative_error(np.full(3, 1e-13), np.zeros(3)).max()
        < 1e-6
        < relative_error(np.full(3, 1e-11), np.zeros(3)).max()
    )


def test_whole_numbers_booleans_and_strings_are_exact() -> None:
    for expected, got in (([1, 10**9], [1, 10**9 + 1]), ([True, False], [True, True]), (['a', 'b'], ['a', 'c'])):
        assert relative_error(np.array(got), np.array(expected)).tolist() == [0, np.inf]
        assert tolerance(np.array(expected)) == 0


def test_nan_and_infinity_must_stand_in_the_same_places() -> None:
    expected = np.array([np.nan, np.inf, -np.inf, 1.0])
    assert not relative_error(expected.copy(), expected).any()
    assert np.isinf(relative_error(np.array([0.0, -np.inf, 1e300, np.nan]), expected)).all()


# ------------------------------------------------------------------ the verdict on a case


def test_error_names_array_position_and_both_numbers() -> None:
    case = case_of(x=np.ones((2, 2)), double=np.array([[2.0, 2.0], [3.0, 2.0]]))
    message = problems(case, lambda case: dict(double=2 * case['x']))
    assert message.startswith('double: 1 of 4 differ; at (1, 0) expected np.float64(3.0), but got np.float64(2.0)')
    assert 'relative error 3.3e-01, allowed 1e-06' in message


def test_other_shape_is_a_problem_even_where_it_would_broadcast() -> None:
    case = case_of(double=np.ones((2, 2)))
    assert problems(case, lambda case: dict(double=torch.ones(2))) == 'double: expected shape (2, 2), but got (2,)'


def test_an_array_neither_read_nor_returned_is_a_problem() -> None:
    case = case_of(x=np.ones(2), double=np.full(2, 2.0), grad=np.full(2, 2.0))
    message = problems(case, lambda case: dict(double=2 * case['x']))
    assert message == "arrays neither read nor returned by the adaptor: ['grad']"


def test_a_hyper_parameter_that_is_not_read_is_a_problem_unless_ignored() -> None:
    def compute(case: Case) -> dict:
        return dict(double=2 * case['x'])

    arrays = dict(x=np.ones(2), double=np.full(2, 2.0))
    assert problems(case_of(dict(seed_x=0), **arrays), compute) == (
        "hyper-parameters neither read nor returned by the adaptor: ['seed_x']"
    )
    assert not problems(case_of(dict(seed_x=0), **arrays), compute, **{'seed*': 'of the inputs'})


def test_asking_whether_an_array_exists_does_not_count_as_reading() -> None:
    def compute(case: Case) -> dict:
        assert 'grad' in case and case.params.get('missing') is None
        return dict(double=2 * case['x'])

    case = case_of(x=np.ones(2), double=np.full(2, 2.0), grad=np.ones(2))
    assert 'grad' in problems(case, compute)


def test_an_output_the_case_does_not_hold_is_a_problem() -> None:
    case = case_of(x=np.ones(2), double=np.full(2, 2.0))
    message = problems(case, lambda case: dict(double=2 * case['x'], triple=1))
    assert message == "the adaptor returns ['triple'], which the case does not hold"


def test_an_adaptor_that_compares_nothing_is_a_problem() -> None:
    assert problems(case_of(), lambda case: {}) == 'the adaptor compares nothing'


def test_derived_checks_are_compared_too() -> None:
    def compute(case: Case) -> dict:
        case.check('sum of x', 3, case.arrays['x'].sum())
        return {}

    assert problems(case_of(x=np.array([1, 1])), compute).startswith('sum of x: 1 of 1 differ')


def test_loss_and_grad_differentiates_the_sum() -> None:
    case = case_of(logits=np.array([[1.0, 2.0], [0.0, 3.0]]), target=np.array([1, 0], dtype=np.int16))
    got = case.loss_and_grad(nn.CrossEntropyLoss(reduction='none'), wrt='logits')
    softmax = case['logits'].softmax(1)
    assert got['loss'].shape == (2,)
    torch.testing.assert_close(got['grad_logits'], softmax - torch.eye(2, dtype=torch.float64)[case['target']])


def test_two_adaptors_of_one_method_are_refused() -> None:
    with pytest.raises(ValueError, match="a second one for 'balanced_softmax'"):
        adaptor('balanced_softmax')(lambda case: {})


# ------------------------------------------------------------------ reading


def test_every_method_of_the_shipped_numbers_is_read() -> None:
    by_method = read_cases(Path(__file__).parent / 'goldens')
    assert len(by_method) >= len(ADAPTORS) > 0
    assert ADAPTORS.keys() <= by_method.keys()


def test_a_folder_without_numbers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match='found none'):
        read_cases(tmp_path)


def test_json_and_npz_that_differ_are_refused(tmp_path: Path) -> None:
    write_method(tmp_path, 'doubling', {'a': dict(x=np.ones(2))})
    np.savez(tmp_path / 'doubling.npz', **{'a/y': np.ones(2)})
    with pytest.raises(ValueError, match=r"differ in the arrays \['a/x', 'a/y'\]"):
        read_cases(tmp_path)


# ------------------------------------------------------------------ a whole run


def run_pytest(folder: Path) -> tuple[int, list[str]]:
    """Exit status and output of ``pytest tests --goldens FOLDER`` without the tests of other parts."""
    command = [sys.executable, '-m', 'pytest', 'tests', '--goldens', folder, '-v', '-p', 'no:cacheprovider']
    command += ['--ignore-glob', 'tests/[!c]*', '-k', 'equals_the_authors_numbers']
    environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'COLUMNS': '200'}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
    return run.returncode, [' '.join(line.split()) for line in (run.stdout + run.stderr).splitlines()]


def test_a_run_reads_other_numbers_and_fails_where_they_are_wrong(tmp_path: Path) -> None:
    logits = np.random.default_rng(0).normal(size=(3, 4))
    target, counts = np.array([0, 1, 3]), np.array([7, 5, 2, 1])
    softmax = np.exp(logits) * counts / (np.exp(logits) @ counts)[:, None]
    right = dict(
        params=dict(cls_num_list=counts.tolist(), reduction='none'),
        logits=logits,
        target=target,
        loss=-np.log(softmax[np.arange(3), target]),
        grad_logits=softmax - np.eye(4)[target],
    )
    wrong = {**right, 'grad_logits': right['grad_logits'] + np.eye(3, 4) * 1e-5}
    more = {**right, 'new_output': np.ones(1)}
    write_method(tmp_path, 'balanced_softmax', {'right': right, 'wrong': wrong, 'more': more})
    write_method(tmp_path, 'yet_unknown', {'a': right})

    status, lines = run_pytest(tmp_path)

    assert status == 1, '\n'.join(lines)
    outcomes = dict(re.findall(r'\[balanced_softmax-(\w+)\] ([A-Z]+)', '\n'.join(lines)))
    assert outcomes == dict(right='PASSED', wrong='FAILED', more='FAILED')
    assert "arrays neither read nor returned by the adaptor: ['new_output']" in lines
    assert any(line.startswith('grad_logits: 3 of 12 differ; at ') for line in lines)
    assert any(line.startswith('balanced_softmax yes 1/3 6 ') and line.endswith('2 failed') for line in lines)
    assert 'yet_unknown no 0/1' in lines
    assert (
        '1 of 3 cases of 1 methods with an adaptor passed; 1 cases of 1 methods without an adaptor were not run.'
        in lines
    )


def test_a_run_on_a_missing_folder_says_so(tmp_path: Path) -> None:
    status, lines = run_pytest(tmp_path / 'none')
    assert status != 0
    assert any(f'--goldens: Expected <method>.json files in {tmp_path / "none"}, but found none.' in x for x in lines)
