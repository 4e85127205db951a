import os
import signal
from pathlib import Path

import pytest

from ltmm.experiments.pool import run_jobs


class CountedJob:
    """A job that ends with status 3 when it is looked at for the second time."""

    exitcode = 3

    def __init__(self):
        self.looks, self.calls = 0, []

    def is_alive(self):
        self.looks += 1
        return self.looks < 2

    def terminate(self):
        self.calls.append('terminate')

    def join(self):
        self.calls.append('join')


class CountedLauncher:
    """Keeps what it starts."""

    def __init__(self):
        self.started = {}

    def start(self, command, folder):
        self.started[command[0]] = CountedJob()
        return self.started[command[0]]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr('ltmm.experiments.pool.POLL_SECONDS', 0)


def test_jobs_at_a_time_and_one_that_follows():
    launcher, active, waiting, seen, most = CountedLauncher(), {}, list('abcde'), [], []

    def ended(key, code):
        assert key not in active
        seen.append((key, code))
        if key == 'a':
            waiting.insert(0, 'after a')

    run_jobs(
        launcher,
        2,
        active,
        lambda: (waiting[0], [waiting.pop(0)], Path()) if waiting else None,
        ended,
        lambda: most.append(len(active)),
    )
    assert sorted(seen) == [(key, 3) for key in ('a', 'after a', 'b', 'c', 'd', 'e')]
    assert list(launcher.started) == ['a', 'b', 'after a', 'c', 'd', 'e']
    assert max(most) == 2 and not active
    assert not any(job.calls for job in launcher.started.values())


@pytest.mark.parametrize(
    'action, error, words',
    [
        (lambda: os.kill(os.getpid(), signal.SIGTERM), SystemExit, 'Terminated; the same command'),
        (
            lambda: signal.default_int_handler(signal.SIGINT, None),
            KeyboardInterrupt,
            None,
        ),  # SIGINT may be ignored here
        (lambda: 1 / 0, ZeroDivisionError, 'division'),
    ],
)
def test_jobs_are_stopped_at_exit(action, error, words):
    before = signal.getsignal(signal.SIGTERM)
    launcher, active, waiting = CountedLauncher(), {}, list('ab')
    with pytest.raises(error, match=words):
        run_jobs(
            launcher, 2, active, lambda: (waiting[0], [waiting.pop(0)], Path()) if waiting else None, print, action
        )
    assert list(active) == ['a', 'b']
    assert all(job.calls == ['terminate', 'join'] for job in launcher.started.values())
    assert signal.getsignal(signal.SIGTERM) is before
