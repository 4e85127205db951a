import pytest


@pytest.fixture(autouse=True)
def without_yapf(monkeypatch):
    """Configs are written as they are: formatting them takes half the time of a toy training."""
    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, **_: (text, False))
