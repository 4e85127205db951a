import gzip
import zipfile

import numpy as np
import pytest

from ltmm.class_distribution import ClassDistribution
from ltmm.datasets.labels.lvis_annotations import read_lvis_annotations
from ltmm.datasets.list_file import read_list_file
from ltmm.datasets.wrappers.exemplars import Exemplars
from ltmm.utils.data_files import DataFileError, read_array, read_arrays, read_json, read_text
from ltmm.utils.errors import InputError

TEXT = '{"猫": 1, "café": 2}'


def test_byte_order_mark(tmp_path):
    for name, packed in (('a.json', False), ('a.json.gz', True)):
        data = TEXT.encode('utf-8-sig')
        (tmp_path / name).write_bytes(gzip.compress(data) if packed else data)
        assert read_json(tmp_path / name) == {'猫': 1, 'café': 2}


@pytest.mark.parametrize(
    'text, encoding, name',
    [
        ('a\n"猫狗"', 'gbk', r'line 2\) but seems to be in GBK'),
        ('"façade, café"', 'latin-1', 'WINDOWS-1252'),
        ('"cat"', 'utf-16', 'UTF-16'),
        ('{"cat": 1}', 'utf-16-le', 'UTF-16'),
    ],
)
def test_other_encodings_are_named(tmp_path, text, encoding, name):
    path = tmp_path / 'labels.json'
    path.write_bytes(text.encode(encoding))
    with pytest.raises(DataFileError, match=f'labels.json .*{name}.*iconv'):
        read_json(path)


@pytest.mark.parametrize(
    'data, message',
    [
        (b'[' * 100_000, 'nested too deeply'),
        (b'[' + b'1' * 5000 + b']', 'not a JSON file .*digits'),
        (b'{"images": [', 'truncated'),
        (b'', 'truncated'),
        (b'\x89PNG\r\n\x1a\n\0\0\0\rIHDR', 'not a text file'),
    ],
)
@pytest.mark.parametrize('read', [read_json, read_lvis_annotations, ClassDistribution.build, Exemplars.read])
def test_hostile_json(tmp_path, read, data, message):
    path = tmp_path / 'file.json'
    path.write_bytes(data)
    with pytest.raises(InputError, match=f'file.json .*{message}') as error:
        read(str(path))
    assert '\n' not in str(error.value)


def header(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + '\n'
    return b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text.encode()


@pytest.mark.parametrize('shape', ['(10000000000000, 2)', '(99999999999999999999999999,)', '(-3,)', '(4,)'])
def test_lying_headers(tmp_path, shape):
    (tmp_path / 'a.npy').write_bytes(header(shape) + bytes(8))
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as file:
        file.writestr('x.npy', header(shape) + bytes(8))
    with pytest.raises(DataFileError, match='a.npz is truncated or not a .npz file .*Make it again'):
        read_arrays(tmp_path / 'a.npz', ['x'], 'Make it again.')
    if shape != '(-3,)':  # NumPy reads all that is there
        with pytest.raises(DataFileError, match='a.npy is truncated or not a .npy file'):
            read_array(tmp_path / 'a.npy')


@pytest.mark.parametrize('data', [b'', b'\x93NUMPY\x01', b'PK\x03\x04 garbage', b'\x80\x04]\x94.', b'text'])
def test_other_files_than_arrays(tmp_path, data):
    (tmp_path / 'a.npy').write_bytes(data)
    for read in (read_array, lambda path: read_arrays(path, ['x'])):
        with pytest.raises(DataFileError, match='a.npy is truncated or not'):
            read(tmp_path / 'a.npy')
    np.savez(tmp_path / 'b.npz', y=np.zeros(2))
    with pytest.raises(DataFileError, match='x is not a file'):
        read_arrays(tmp_path / 'b.npz', ['x'])
    with pytest.raises(DataFileError, match='is a .npz archive'):
        read_array(tmp_path / 'b.npz')


def test_list_file_with_byte_order_mark(tmp_path):
    path = tmp_path / 'list.txt'
    path.write_bytes('猫/a 1.jpg 0\r\n狗/b.jpg 1\r\n'.encode('utf-8-sig'))
    assert read_list_file(path, 2)[0] == ['猫/a 1.jpg', '狗/b.jpg']
    path.write_bytes(path.read_text(encoding='utf-8-sig').encode('gbk'))
    with pytest.raises(DataFileError, match='GBK'):
        read_text(path)
