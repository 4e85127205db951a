from pathlib import Path

import pytest
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from toy import free_port

from ltmm.utils.errors import exit_readably


def test_a_tool_that_succeeds_leaves_its_group_of_processes():
    dist.init_process_group('gloo', f'tcp://127.0.0.1:{free_port()}', rank=0, world_size=1)
    with exit_readably():
        model = DistributedDataParallel(nn.Linear(1, 1))
        model.itself = [model]  # as a runner and its parts hold each other
        del model
        assert gloo_threads()
    assert not dist.is_initialized() and not gloo_threads()


def gloo_threads() -> list[str]:
    names = [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]
    return [name for name in names if 'gloo' in name]


def test_what_cannot_be_ends_in_one_line():
    with pytest.raises(SystemExit, match='ValueError: no such thing'), exit_readably(ValueError):
        raise ValueError('no such thing')
