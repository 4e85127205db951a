import pytest
import torch.distributed as dist
from toy import toy_config
from toy_processes import free_port

from ltmm.utils.launch import build_runner


@pytest.fixture
def gloo(monkeypatch):
    """A process group of one process."""
    monkeypatch.setenv('LOCAL_RANK', '0')
    dist.init_process_group('gloo', f'tcp://127.0.0.1:{free_port()}', rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize(
    'options, unused, buffers',
    [
        ({}, False, False),
        (dict(find_unused_parameters=True), True, False),
        (dict(model_wrapper_cfg=dict(type='MMDistributedDataParallel', broadcast_buffers=True)), False, True),
    ],
)
def test_model_wrapper_on_cpus(tmp_path, gloo, options, unused, buffers):
    wrapped = build_runner(toy_config(tmp_path, launcher='pytorch', **options)).model
    assert (wrapped.find_unused_parameters, wrapped.broadcast_buffers) == (unused, buffers)
    assert wrapped.device_ids is None
