"""What all tests share: the options of this suite."""

from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

# As in the processes that toy.run_tool starts: runs are equal bit by bit only on as many threads.
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--goldens',
        type=Path,
        default=Path(__file__).parent / 'conformance' / 'goldens',
        metavar='DIR',
        help="folder with the authors' numbers, <method>.json and <method>.npz, that tests/conformance compares with",
    )


@pytest.fixture(autouse=True)
def no_default_scope() -> None:
    """Start every test without a default scope, as a new process does, whatever scope the test before it has set."""
    DefaultScope._instance_dict.clear()
