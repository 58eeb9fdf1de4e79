"""Signals of the command line, without a run."""

import signal
import types

import pytest

from nst_jax.launch import cli


@pytest.fixture
def handlers():
    """Restore the signal handlers after a test."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_a_later_second_signal_exits_at_once(monkeypatch, handlers):
    """Two signals in one window, as a process group gets them, are one request."""
    clock, statuses = iter([0.0, 0.9, 1.1]), []
    time = types.SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr(cli, "time", time)
    monkeypatch.setattr(cli, "os", types.SimpleNamespace(_exit=statuses.append))
    stop = cli._StopRequest()
    assert not stop()
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    assert stop() and statuses == []
    signal.raise_signal(signal.SIGINT)
    assert statuses == [1]
    assert stop.signals[0] == signal.SIGINT  # Decides the exit status 130.
