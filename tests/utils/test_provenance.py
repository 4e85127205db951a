import re
import subprocess

import ltmm
from ltmm.utils import provenance


def test_hardware(monkeypatch):
    assert provenance.hardware()
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    assert re.search(r', \d+ cores$', provenance.hardware())
    monkeypatch.setattr('torch.cuda.is_available', lambda: True)
    monkeypatch.setattr('torch.cuda.get_device_name', lambda: 'NVIDIA H200')
    assert provenance.hardware() == 'NVIDIA H200'


def test_commit(tmp_path, monkeypatch):
    package = tmp_path / 'ltmm' / '__init__.py'
    package.parent.mkdir()
    package.write_text('')
    monkeypatch.setattr(ltmm, '__file__', str(package))
    monkeypatch.setattr(ltmm, '__version__', '1.2.3')
    assert provenance.commit() == '1.2.3'  # no checkout
    author = ['-c', 'user.name=a', '-c', 'user.email=a@b.c']
    for arguments in (['init', '-q'], ['add', '.'], [*author, 'commit', '-q', '-m', 'x', '--no-gpg-sign']):
        subprocess.run(['git', '-C', tmp_path, *arguments], check=True)
    clean = provenance.commit()
    assert re.fullmatch('[0-9a-f]{7,}', clean)
    package.write_text('changed')
    assert provenance.commit() == f'{clean}-dirty'
