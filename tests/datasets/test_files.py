import socket
from pathlib import Path

import pytest

from ltmm.datasets import files
from ltmm.datasets.files import (
    check_images,
    data_roots,
    file_or_gz,
    find_folder,
    install,
    missing_images,
    on_main_process,
)

pytestmark = pytest.mark.usefixtures('empty_folder')


def test_data_roots(monkeypatch):
    assert data_roots() == [Path('data')]
    monkeypatch.setenv('LTMM_DATA_ROOT', '/mnt/sets')
    assert data_roots() == [Path('/mnt/sets'), Path('data')]


def test_find_folder(monkeypatch, tmp_path):
    Path('data/b').mkdir(parents=True)
    assert find_folder(('a', 'b')) == Path('data/b')
    Path('data/a').mkdir()
    assert find_folder(('a', 'b')) == Path('data/a')
    monkeypatch.setenv('LTMM_DATA_ROOT', str(tmp_path / 'sets'))
    (tmp_path / 'sets/b').mkdir(parents=True)
    assert find_folder(('a', 'b')) == tmp_path / 'sets/b'
    assert find_folder(('new', 'c')) == tmp_path / 'sets/new'


def test_file_or_gz():
    Path('list.txt.gz').touch()
    assert file_or_gz(Path('list.txt')) == Path('list.txt.gz')
    Path('list.txt').touch()
    assert file_or_gz(Path('list.txt')) == Path('list.txt')
    assert file_or_gz(Path('other.txt')) is None


def test_missing_images(monkeypatch):
    names = ['train/attic/1.jpg', 'train/attic/2.jpg', 'train/zen garden/1.jpg', 'top.jpg']
    Path('set/train/attic').mkdir(parents=True)
    Path('set/train/attic/1.jpg').touch()
    Path('set/top.jpg').touch()
    with pytest.raises(FileNotFoundError, match='2 of 4 images are missing, .*set/train/attic/2.jpg first. Get them'):
        check_images(Path('set'), names, 'Get them.')
    monkeypatch.setattr('os.stat', lambda *_, **__: pytest.fail('a file was tested'))
    assert missing_images(Path('set'), names) == names[1:3]
    assert missing_images(Path('nowhere'), names) == names


def test_install():
    Path('data/set').mkdir(parents=True)
    Path('data/set/kept').write_text('old')
    install(Path('data/set'), lambda folder: Path(folder, 'new').write_text('new'))
    assert {path.name: path.read_text() for path in Path('data/set').iterdir()} == dict(kept='old', new='new')


def test_failed_install_leaves_nothing():
    def half(folder):
        Path(folder, 'images').write_text('half of th')
        raise ConnectionResetError('gone')

    with pytest.raises(ConnectionResetError):
        install(Path('data/set'), half)
    assert not Path('data/set').exists()


def test_on_main_process(monkeypatch):
    done = []
    on_main_process(lambda: done.append(0))
    monkeypatch.setattr(files, 'is_main_process', lambda: False)
    on_main_process(lambda: done.append(1))
    assert done == [0]


def test_on_main_process_raises_on_all_ranks(monkeypatch):
    sent = []
    monkeypatch.setattr(files, 'broadcast_object_list', sent.extend)
    with pytest.raises(PermissionError, match='read-only'):
        on_main_process(lambda: Path('x').touch() or (_ for _ in ()).throw(PermissionError('read-only')))
    assert isinstance(sent[0], PermissionError)

    def receive(failure):
        failure[0] = sent[0]

    monkeypatch.setattr(files, 'is_main_process', lambda: False)
    monkeypatch.setattr(files, 'broadcast_object_list', receive)
    with pytest.raises(PermissionError, match='read-only'):
        on_main_process(lambda: None)


def test_timeout():
    with files._timeout(3):
        assert socket.getdefaulttimeout() == 3
    assert socket.getdefaulttimeout() is None
