"""One test for each case of the authors' numbers that ltmm has an adaptor for; see README.md."""

from collections.abc import Callable

import pytest

from .frame import ADAPTORS, Case, verdict


def test_equals_the_authors_numbers(case: Case, record_property: Callable) -> None:
    record_property('conformance', case.method)
    result = verdict(case, ADAPTORS[case.method])
    record_property('num_compared', result.num_compared)
    record_property('largest_error', result.largest_error)
    if result.problems:
        pytest.fail('\n'.join([f'{case.method}, case {case.name}:', *result.problems]), pytrace=False)
