"""Signals that stop a launch, and one that its starter ignores."""

import signal

from swarm.cli.launch import handled_signals


def test_an_ignored_signal_stays_ignored():
    """`nohup swarm launch &` outlives its terminal: SIGHUP gets no handler there."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        assert signal.SIGHUP in handled_signals()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        assert signal.SIGHUP not in handled_signals()
        assert signal.SIGTERM in handled_signals()
    finally:
        signal.signal(signal.SIGHUP, before)
