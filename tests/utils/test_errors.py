import pytest
import torch.distributed as dist
from toy import free_port

from ltmm.utils.errors import exit_readably


def test_a_tool_that_succeeds_leaves_its_group_of_processes():
    dist.init_process_group('gloo', f'tcp://127.0.0.1:{free_port()}', rank=0, world_size=1)
    with exit_readably():
        assert dist.is_initialized()
    assert not dist.is_initialized()


def test_what_cannot_be_ends_in_one_line():
    with pytest.raises(SystemExit, match='ValueError: no such thing'), exit_readably(ValueError):
        raise ValueError('no such thing')
