import importlib

import numpy as np
import pytest
from toy import ROOT

FAKE = '''"""Two functions against each other."""
from pair import Pair

def compare():
    yield Pair('slow', lambda: sum(range(20000)), lambda: sum(range(1000)), max_ratio={bound})
'''


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / 'tools/benchmarks')
    return importlib.import_module


@pytest.mark.parametrize(
    ('bound', 'verdict'),
    [(dict(max_ratio=3), 'kept'), (dict(max_ratio=2.9), 'NOT KEPT'), (dict(max_seconds=2.9), 'NOT KEPT'), ({}, '')],
)
def test_row(tool, bound, verdict):
    run, pair = tool('run'), tool('pair')
    now, calls = [0.0], []

    def takes(side, seconds):
        def work():
            calls.append(side)
            now[0] += 100 if len(calls) <= 2 else seconds  # warming up does not count

        return work

    fake = pair.Pair('fake', takes('ours', 3), takes('reference', 1), **bound)
    times = run.measure(fake, rounds=6, clock=lambda: now[0])
    assert times == (3, 1, 3)
    assert calls == ['reference', 'ours', 'ours', 'reference'] * 3 + ['reference', 'ours']
    text, kept = run.row(fake, *times)
    assert text.split()[:6] == ['fake', '3000.0', 'ms', '1000.0', 'ms', '3']
    assert text.endswith(verdict) and kept == (verdict != 'NOT KEPT')


@pytest.mark.parametrize(('used', 'verdict'), [(200, 'kept'), (201, 'NOT KEPT')])
def test_memory(tool, used, verdict):
    pair = tool('pair').Pair('fake', None, None, max_ratio=3, megabytes=lambda: used, max_megabytes=200)
    text, kept = tool('run').row(pair, 1, 1, 1)
    assert f'<= 3, {used} MB <= 200' in text and text.endswith(verdict) and kept == (verdict == 'kept')


@pytest.mark.parametrize(('bound', 'code'), [(1000, 0), (0, 1)])
def test_run(tool, tmp_path, monkeypatch, capsys, bound, code):
    run = tool('run')
    (tmp_path / f'fake_{code}.py').write_text(FAKE.format(bound=bound))
    (tmp_path / 'helper.py').write_text('"""Compares nothing."""')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(run, 'FOLDER', tmp_path)
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    assert run.main([]) == 0
    assert capsys.readouterr().out.split() == [f'fake_{code}', *'Two functions against each other.'.split()]
    assert run.main(['--all', '--rounds', '4']) == code
    assert 'slow' in capsys.readouterr().out


def test_unknown_name(tool):
    with pytest.raises(SystemExit, match=r"^Unknown benchmark 'nope'; choose from .*class_counts, .*losses, [^\n]*$"):
        tool('run').main(['losses', 'nope'])


def test_every_registered_loss_has_a_row(tool, monkeypatch):
    losses = tool('losses')
    monkeypatch.setattr(losses, 'KINDS', {kind: (8, 12, bound) for kind, (*_, bound) in losses.KINDS.items()})
    monkeypatch.setattr(losses, 'EXPERTS', (2, *losses.EXPERTS[1:]))  # NCL finds 2,442 classes
    pairs = list(losses.compare())
    assert {'BalancedSoftmaxLoss', 'ASLLoss', 'SeesawLoss', 'SHIKELoss'} < {pair.name for pair in pairs}
    for pair in pairs:
        pair.ours(), pair.reference()


def test_lvis_evaluation_gives_the_figures_of_the_package(tool, monkeypatch):
    monkeypatch.setattr(np, 'float', float, raising=False)
    lvis = tool('lvis_evaluation')
    monkeypatch.setattr(lvis, 'NUM_IMAGES', 3)
    for pair in lvis.compare():
        assert pair.reference() > 0  # which compares them
        assert 0.1 < pair.ours()['AP'] < 1
