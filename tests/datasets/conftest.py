"""Fixtures for the tests of datasets."""

import pytest


@pytest.fixture
def empty_folder(tmp_path, monkeypatch) -> None:
    """Run in an empty folder without data roots."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('LTMM_DATA_ROOT', raising=False)
