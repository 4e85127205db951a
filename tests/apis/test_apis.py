import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.registry import init_default_scope
from toy_docs import Page
from toy_trained import NAMES, save_classifier, write_image

import ltmm.apis


def test_exported_names():
    for name in ltmm.apis.__all__:
        thing = getattr(ltmm.apis, name)
        assert (thing.__name__, thing.__module__.rpartition('.')[0]) == (name, 'ltmm.apis')


def test_import_is_lazy():
    code = 'import sys, ltmm.apis; print([name for name in ("cv2", "mmcv", "mmpretrain") if name in sys.modules])'
    assert subprocess.check_output([sys.executable, '-c', code], text=True).split()[-1] == '[]'


def test_api_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    config, checkpoint = save_classifier(tmp_path)
    config.rename(tmp_path / 'mine.py'), checkpoint.rename(tmp_path / 'mine.pth')
    write_image(tmp_path / 'photos/a.png')
    monkeypatch.chdir(tmp_path)
    init_default_scope('mmpretrain')
    Page('docs/api/apis.md').run()
    image, label = capsys.readouterr().out.splitlines()[-1].split()
    assert image == 'photos/a.png' and label in NAMES
