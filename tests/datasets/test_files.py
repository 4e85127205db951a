import socket
from pathlib import Path

import pytest

from ltmm.datasets import files
from ltmm.datasets.files import data_roots, file_or_gz, find_folder, install, on_main_process


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('LTMM_DATA_ROOT', raising=False)


def test_the_variable_goes_before_the_folder_data(monkeypatch):
    assert data_roots() == [Path('data')]
    monkeypatch.setenv('LTMM_DATA_ROOT', '/mnt/sets')
    assert data_roots() == [Path('/mnt/sets'), Path('data')]


def test_the_first_folder_that_is_there_wins(monkeypatch, tmp_path):
    Path('data/b').mkdir(parents=True)
    assert find_folder(('a', 'b')) == Path('data/b')
    Path('data/a').mkdir()
    assert find_folder(('a', 'b')) == Path('data/a')
    monkeypatch.setenv('LTMM_DATA_ROOT', str(tmp_path / 'sets'))
    (tmp_path / 'sets/b').mkdir(parents=True)
    assert find_folder(('a', 'b')) == tmp_path / 'sets/b'


def test_new_data_go_to_the_first_folder_of_the_first_root(monkeypatch):
    assert find_folder(('a', 'b')) == Path('data/a')
    monkeypatch.setenv('LTMM_DATA_ROOT', 'sets')
    assert find_folder(('a', 'b')) == Path('sets/a')


def test_packed_files_are_found():
    Path('list.txt.gz').touch()
    assert file_or_gz(Path('list.txt')) == Path('list.txt.gz')
    Path('list.txt').touch()
    assert file_or_gz(Path('list.txt')) == Path('list.txt')
    assert file_or_gz(Path('other.txt')) is None


def test_install_moves_what_was_fetched_and_nothing_else():
    Path('data/set').mkdir(parents=True)
    Path('data/set/kept').write_text('old')
    install(Path('data/set'), lambda folder: Path(folder, 'new').write_text('new'))
    assert {path.name: path.read_text() for path in Path('data/set').iterdir()} == dict(kept='old', new='new')


def test_a_failed_fetch_leaves_nothing(tmp_path):
    def half(folder):
        Path(folder, 'images').write_text('half of th')
        raise ConnectionResetError('gone')

    with pytest.raises(ConnectionResetError):
        install(Path('data/set'), half)
    assert not Path('data/set').exists()


def test_rank_zero_works_and_others_wait(monkeypatch):
    done = []
    on_main_process(lambda: done.append(0))
    monkeypatch.setattr(files, 'is_main_process', lambda: False)
    on_main_process(lambda: done.append(1))
    assert done == [0]


def test_every_rank_raises_what_rank_zero_raised(monkeypatch):
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


def test_the_timeout_ends_with_the_download():
    with files._timeout(3):
        assert socket.getdefaulttimeout() == 3
    assert socket.getdefaulttimeout() is None
