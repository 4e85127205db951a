"""What all tests share: the options of this suite."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--goldens',
        type=Path,
        default=Path(__file__).parent / 'conformance' / 'goldens',
        metavar='DIR',
        help="folder with the authors' numbers, <method>.json and <method>.npz, that tests/conformance compares with",
    )
