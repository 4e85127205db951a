"""What all tests share: the options of this suite."""

import os
import random
import signal
from logging import FileHandler
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.fileio.handlers.registry_utils import file_handlers
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

import ltmm  # noqa: F401  (before any test imports mmcv.ops)

FILE_HANDLERS = dict(file_handlers)  # of MMEngine, which the tools replace
torch.set_num_threads(1)  # as in the processes that toy_processes starts: runs are equal bit by bit only on as many


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        '--goldens',
        type=Path,
        default=Path(__file__).parent / 'conformance' / 'goldens',
        metavar='DIR',
        help="folder with the authors' numbers, <method>.json and <method>.npz, that tests/conformance compares with",
    )


@pytest.fixture(autouse=True)
def fresh_start() -> None:
    """Start every test as a new process does: without a default scope, and from the same random seed.

    A web server in an earlier test, as that of tools/demo.py, closes the log files of all loggers: they are let go.
    Libraries, called by an earlier test, may have set another number of threads, or, as Ray, a handler of SIGTERM, with
    which multiprocessing.Pool hangs if it ends a process in the moment of its start.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    DefaultScope._instance_dict.clear()
    for logger in MMLogger._instance_dict.values():
        closed = [handler for handler in logger.handlers if isinstance(handler, FileHandler) and handler.stream is None]
        logger.handlers = [handler for handler in logger.handlers if handler not in closed]
    os.environ.pop('TORCH_FORCE_WEIGHTS_ONLY_LOAD', None)  # the tools set it
    file_handlers.update(FILE_HANDLERS)
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
