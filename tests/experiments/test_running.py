import json
from types import SimpleNamespace

from mmengine.config import Config

from ltmm.experiments import Run, run_all


class FailingLauncher:
    """Starts jobs that have failed."""

    def start(self, command, folder):
        (folder / 'output.log').write_text('ValueError: no such loss')
        return SimpleNamespace(exitcode=1, is_alive=lambda: False)


def test_run_after_a_first_stage_that_cannot_start(tmp_path, monkeypatch):
    monkeypatch.setattr('ltmm.experiments.pool.POLL_SECONDS', 0)
    cfg = Config(dict(train_cfg=dict(max_epochs=2), test_evaluator=dict(type='ltmm.LongTailMetric')))
    folder = tmp_path / 'work/first/seed_0'
    folder.mkdir(parents=True)
    (folder / 'run.json').write_text(json.dumps(dict(state='failed', fingerprint='of other settings')))
    first = Run(tmp_path / 'first.py', cfg, 0, tmp_path / 'work', [])
    second = Run(tmp_path / 'second.py', cfg, 0, tmp_path / 'work', [], first_stage=first)
    failures = run_all([first, second], FailingLauncher, jobs=1)
    assert list(failures) == ['first, seed 0', 'second, seed 0']
    assert 'its config has changed' in failures['first, seed 0']
    assert failures['second, seed 0'].startswith('ValueError: no such loss')
