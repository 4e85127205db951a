import os

import pytest

from ltmm.utils.atomic_backend import AtomicLocalBackend


def test_failed_write_keeps_the_old_file(tmp_path):
    target = tmp_path / 'file'
    target.write_bytes(b'old')
    with pytest.raises(TypeError):
        AtomicLocalBackend().put('not bytes', target)
    assert target.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['file']
    AtomicLocalBackend().put(b'new', target)
    assert target.read_bytes() == b'new'
