"""One test a case, and the table of all methods at the end of the run."""

from collections import Counter, defaultdict

import pytest

from . import adaptors, trajectories  # noqa: F401  (fill ADAPTORS)
from .frame import ADAPTORS, Case, read_cases

CASES = pytest.StashKey[dict[str, list[Case]]]()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if 'case' not in metafunc.fixturenames:
        return
    try:
        by_method = read_cases(metafunc.config.option.goldens)
    except (OSError, ValueError) as e:
        raise pytest.UsageError(f'--goldens: {e}') from e
    metafunc.config.stash[CASES] = by_method
    cases = [
        pytest.param(case, id=f'{method}-{case.name}', marks=[pytest.mark.slow] * ADAPTORS[method].slow)
        for method, cases in by_method.items()
        if method in ADAPTORS
        for case in cases
    ]
    metafunc.parametrize('case', cases)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    outcomes, compared, errors = defaultdict(Counter), Counter(), defaultdict(float)
    for outcome in ('passed', 'failed', 'error', 'skipped'):
        for report in terminalreporter.stats.get(outcome, ()):
            properties = dict(getattr(report, 'user_properties', ()))
            method = properties.get('conformance')
            if method is not None:
                outcomes[method][outcome] += 1
                compared[method] += properties.get('num_compared', 0)
                errors[method] = max(errors[method], properties.get('largest_error', 0.0))
    if not outcomes:
        return
    # with pytest-xdist this process has collected nothing
    by_method = config.stash[CASES] if CASES in config.stash else read_cases(config.option.goldens)
    write = terminalreporter.write_line
    terminalreporter.section("conformance with the authors' numbers")
    write(f'{"method":<32}{"adaptor":<9}{"cases passed":<16}{"arrays compared":<17}largest relative error')
    for method in sorted(by_method, key=lambda method: (method not in ADAPTORS, method)):
        count, total = outcomes[method], len(by_method[method])
        if method not in ADAPTORS:
            write(f'{method:<32}{"no":<9}0/{total}')
            continue
        rest = ', '.join(f'{n} {outcome}' for outcome, n in count.items() if outcome != 'passed')
        if sum(count.values()) < total:
            rest += f'{", " if rest else ""}{total - sum(count.values())} not run'
        passed = f'{count["passed"]}/{total}'
        write(f'{method:<32}{"yes":<9}{passed:<16}{compared[method]:<17}{errors[method]:<9.1e}{rest}'.rstrip())
    with_adaptor = [method for method in by_method if method in ADAPTORS]
    passed = sum(count['passed'] for count in outcomes.values())
    total = sum(len(by_method[method]) for method in with_adaptor)
    rest = sum(map(len, by_method.values())) - total
    write(
        f'{passed} of {total} cases of {len(with_adaptor)} methods with an adaptor passed; {rest} cases of '
        f'{len(by_method) - len(with_adaptor)} methods without an adaptor were not run.'
    )
    for method in with_adaptor:
        for name, reason in ADAPTORS[method].ignores.items():
            write(f'left out of {method}: {name}: {reason}')
    for method in sorted(ADAPTORS.keys() - by_method.keys()):
        write(f'{method} has an adaptor, but no numbers in {config.option.goldens}.')
