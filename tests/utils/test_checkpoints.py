import os
import pickle
import tarfile
import zipfile
from io import BytesIO

import mmengine
import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from ltmm.utils.checkpoints import check_checkpoint, forbid_code, read_checkpoint, read_pickle
from ltmm.utils.errors import InputError


class Code:
    """Unpickling it calls a function."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value, value]  # 2 ** depth values
    return value


def repacked(path, compression=zipfile.ZIP_STORED, **replaced):
    """Write a checkpoint with other records; ``data='...'`` replaces ``data.pkl``."""
    with zipfile.ZipFile(path) as old:
        records = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, 'w', compression) as new:
        for name, content in records.items():
            new.writestr(name, replaced.get(name.rpartition('/')[2].removesuffix('.pkl'), content))


@pytest.fixture
def path(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=dict(weight=torch.arange(1000.0))), path)
    return path


@pytest.mark.parametrize('zipped', [True, False])
def test_values_of_older_checkpoints(tmp_path, zipped):
    log = HistoryBuffer([1.0, 2.0], [1, 1])
    log.update(6.0)
    meta = dict(
        top1=np.float64(0.1),
        seed=np.int64(7),
        done=np.bool_(True),
        matrix=np.arange(6, dtype=np.int16).reshape(2, 3).T,
        names=np.array(['bee', 'cow']),
        config='print(1)',
    )
    hub = dict(log_scalars=dict(loss=log), runtime_info=dict(cfg='print(1)', best_score=np.float32(0.5)))
    content = dict(state_dict=dict(weight=torch.ones(2)), meta=meta, message_hub=hub)
    torch.save(content, tmp_path / 'old.pth', _use_new_zipfile_serialization=zipped)
    read = read_checkpoint(tmp_path / 'old.pth')
    assert (read['meta']['top1'], read['meta']['seed'], read['meta']['done']) == (0.1, 7, True)
    for key in ('matrix', 'names'):
        assert type(read['meta'][key]) is np.ndarray
        np.testing.assert_array_equal(read['meta'][key], meta[key])
    loss = read['message_hub']['log_scalars']['loss']
    assert isinstance(loss, HistoryBuffer)
    assert loss.statistics('mean', 2) == 4
    assert 'config' not in read['meta']
    assert read['message_hub']['runtime_info'] == dict(best_score=0.5)
    with pytest.raises(pickle.UnpicklingError):  # torch alone refuses them still
        torch.load(tmp_path / 'old.pth', weights_only=True)


@pytest.mark.parametrize(
    'value, reason',
    [
        (Code(os.mkdir, 'executed'), 'has to run code, posix.mkdir'),
        (Code(eval, 'open("executed", "w")'), 'has to run code, eval'),
        (Code(getattr, Code(__import__, 'os'), 'mkdir'), 'has to run code'),
        (np.array([Code(os.mkdir, 'executed')], dtype=object), 'dtype'),
        (nested(50), 'nested too deeply'),
        (torch.zeros(1).expand(10**12), 'claims a tensor of shape'),
    ],
)
def test_hostile_values(path, value, reason, monkeypatch):
    monkeypatch.chdir(path.parent)
    monkeypatch.setattr('ltmm.utils.checkpoints.MAX_VALUES', 1000)
    for key in ('state_dict', 'meta'):
        torch.save({'state_dict': {}, key: dict(a=value)}, path)
        with pytest.raises(InputError, match=f'{reason}|Expected tensors'):
            read_checkpoint(path)
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize(
    'content, reason',
    [
        ([torch.ones(1)], 'hold a dictionary, but got list'),
        (dict(state_dict=3), "'state_dict' in .* to be a dictionary, but got int"),
        (dict(state_dict={}, meta='x'), "'meta' in"),
        (dict(state_dict={}, message_hub=dict(runtime_info=3)), "'runtime_info' in"),
        (dict(state_dict={3: torch.ones(1)}), 'to have names'),
        (dict(state_dict=dict(a=1)), 'Expected tensors'),
        (dict(state_dict={}, meta=dict(class_distribution=dict(instance_counts=[3]))), 'Expected tensors'),
        (dict(state_dict={}, meta=dict(dataset_meta=[3])), "'dataset_meta' in"),
        (dict(state_dict={}, meta=dict(dataset_meta=dict(classes=[['a']]))), 'class names'),
        (dict(state_dict={}, meta=dict(dataset_meta=dict(classes=3))), 'cannot be read'),
    ],
)
def test_other_content(path, content, reason):
    torch.save(content, path)
    with pytest.raises(InputError, match=reason):
        read_checkpoint(path)


def test_array_of_another_size(path):
    array = pickle.dumps(dict(state_dict={}, meta=dict(a=np.zeros(3))), 2)
    for before, after in ((b'K\x03\x85', b'K\x09\x85'), (b'f8', b'O8')):
        assert before in array
        repacked(path, data=array.replace(before, after))
        with pytest.raises(InputError, match=r'epoch_1.pth is no file of weights \(Expected an? \w* ?array'):
            read_checkpoint(path)


def test_damaged_file(path):
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[whole.index(np.float32(500).tobytes())] ^= 1
    for content in (whole[:2000], b'', bytes(flipped), whole[:4] + b'\xff' * 2000):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r'epoch_1.pth is .*(truncated|damaged)'):
            check_checkpoint(path)
    path.write_bytes(whole)
    check_checkpoint(path)
    check_checkpoint('https://somewhere/else.pth')


def test_other_archives(path):
    repacked(path, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match='compressed'):
        read_checkpoint(path)
    with tarfile.open(path, 'w', encoding='latin-1', format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo('\x80'))  # torch < 2.6 unpickles what such an archive holds
    with pytest.raises(InputError, match='not a checkpoint'):
        read_checkpoint(path)


def test_deep_pickle(path):
    deep = b']' * 100_000 + b'a' * 99_999
    repacked(path, data=b'\x80\x02}X\x04\x00\x00\x00meta}K\x01' + deep + b'ss.')
    with pytest.raises(InputError, match='nested too deeply'):
        read_checkpoint(path)


def test_broken_pickles(path):
    for data in (b'\x80\x02.', b'\x80\x02K', b'\x80\x02' + b'(' * 50, b'\x80\x02X\xff\xff\xff\xff', b'\x80\x02N\x86.'):
        repacked(path, data=data)
        with pytest.raises(InputError, match=r'epoch_1.pth (cannot be read|is no file)'):
            read_checkpoint(path)


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_of_plain_values(tmp_path, protocol):
    forbid_code()
    content = [dict(filename='a.jpg', ori_shape=(10, 20, 3), score=0.5, labels=[1, -(2**70)], is_group=True, note=None)]
    (tmp_path / 'x.pkl').write_bytes(pickle.dumps(content, protocol))
    assert mmengine.load(tmp_path / 'x.pkl') == content


@pytest.mark.parametrize(
    ('data', 'reason'),
    [
        (pickle.dumps(Code(os.mkdir, 'executed')), 'has to run code, posix.mkdir. Nothing was run'),
        (pickle.dumps(Code(getattr, Code(__import__, 'os'), 'mkdir')), 'has to run code, builtins.getattr. Nothing'),
        (pickle.dumps(np.ones(3)), 'has to run code, numpy.*_reconstruct'),
        (b'c\x1b[2K\nx\n.', r'has to run code, \\x1b\[2K.x. Nothing'),
        (pickle.dumps([1, 2])[:-2], 'cannot be read'),
        (b'\x80\x02' + b'(' * 50, 'cannot be read'),
        (b'not a pickle', 'cannot be read'),
        (b'', 'cannot be read'),
    ],
)
def test_hostile_pickle(data, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f'The .pkl file .*{reason}'):
        read_pickle(BytesIO(data))
    assert not os.listdir(tmp_path)
