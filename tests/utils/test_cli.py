from pathlib import Path

import pytest
import torch.distributed as dist
from mmengine.dataset import BaseDataset
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from toy_processes import free_port

from ltmm.engine.hooks import InvalidLossHook
from ltmm.utils.cli import one_line_errors
from ltmm.utils.environment import EnvironmentProblem
from ltmm.utils.errors import InputError


def gloo_threads() -> list[str]:
    names = [path.read_text().strip() for path in Path('/proc/self/task').glob('*/comm')]
    return [name for name in names if 'gloo' in name]


def test_success_destroys_the_process_group():
    dist.init_process_group('gloo', f'tcp://127.0.0.1:{free_port()}', rank=0, world_size=1)
    with one_line_errors():
        model = DistributedDataParallel(nn.Linear(1, 1))
        model.itself = [model]  # a reference cycle, as between a runner and its parts
        del model
        assert gloo_threads()
    assert not dist.is_initialized() and not gloo_threads()


@pytest.mark.parametrize(
    'error, line',
    [
        (InputError('no such thing'), 'InputError: no such thing'),
        (FileNotFoundError(2, 'No such file', 'a.json'), "FileNotFoundError: [Errno 2] No such file: 'a.json'"),
        (EnvironmentProblem('torch is missing'), 'EnvironmentProblem: torch is missing'),
        (KeyboardInterrupt(), '\nInterrupted. Run it again.'),
    ],
)
def test_input_error_is_one_line(error, line):
    with pytest.raises(SystemExit) as caught, one_line_errors(if_interrupted='Run it again.'):
        raise error
    assert caught.value.code == line


def test_input_error_names_the_class():
    with pytest.raises(SystemExit, match='^InputError: InvalidLossHook: Expected'), one_line_errors():
        InvalidLossHook(interval=0)


def test_bug_keeps_its_traceback(monkeypatch):
    with pytest.raises(ZeroDivisionError), one_line_errors():
        raise ZeroDivisionError
    monkeypatch.setenv('LTMM_TRACEBACK', '1')
    with pytest.raises(InputError), one_line_errors():
        raise InputError


@pytest.mark.parametrize(
    'data, words',
    [
        ('{"metainfo": {}, "data_list": []}'.encode('utf-8-sig'), 'without byte order mark'),
        ('{"metainfo": {"classes": ["狗"]}, "data_list": []}'.encode('gbk'), 'GBK'),
        (b'{"metainfo": ' + b'[' * 10**5, 'nested too deeply'),
        (b'{"metainfo"', 'truncated'),
    ],
)
def test_annotation_file_that_mmengine_cannot_read(tmp_path, data, words):
    (tmp_path / 'a.json').write_bytes(data)
    with pytest.raises(SystemExit) as end, one_line_errors():
        BaseDataset(str(tmp_path / 'a.json'))
    assert 'a.json' in end.value.code and words in end.value.code and '\n' not in end.value.code
