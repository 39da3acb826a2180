"""Signals that stop a launch, one that its starter ignores, and readers that end first."""

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from swarm.cli import main
from swarm.cli.launch import handled_signals
from swarm.cli.main import INTERRUPTED_QUERY
from swarm.simulation.study import workers_ignore_interrupts


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


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError(INTERRUPTED_QUERY)])
def test_ctrl_c_ends_a_command_without_a_traceback(monkeypatch, capsys, error):
    """DuckDB raises an error of its own where a query, or a refresh of the record, is ended."""

    def interrupted(**_):
        raise error

    monkeypatch.setattr(main, "swarm", interrupted)
    assert main._run({}) == 130
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("module", ["click", "harness.contract", "swarm.cli.report"])
def test_ctrl_c_during_the_imports_leaves_no_traceback(module):
    """`swarm` ends with 130 and says nothing, wherever in its imports the signal comes."""
    program = f"""
import runpy, sys
class Interrupted:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
sys.argv = ["swarm", "report"]
runpy.run_module("swarm", run_name="__main__")
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (told.returncode, told.stderr.strip(), told.stdout) == (130, b"", b"")


def test_the_command_that_is_installed_is_that_quiet_one():
    """Its console script calls `swarm.__main__`, which imports the command line in its `try`."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"swarm": "swarm.__main__:run"}


def test_workers_start_with_ctrl_c_ignored():
    """A program that is started in the block keeps the disposition; this process gets its own."""
    before = signal.getsignal(signal.SIGINT)
    code = "import signal; print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)"
    with workers_ignore_interrupts():
        told = subprocess.run([sys.executable, "-ISc", code], capture_output=True, check=True)
    assert told.stdout.strip() == b"True"
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_standard_output_is_told_in_one_line(unbuffered):
    """`swarm schema > FILE` ends with 2 where FILE's disk has no space."""
    command = [sys.executable, "-m", "swarm", "schema"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        told = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, env=environment, check=False
        )
    assert told.returncode == 2
    assert told.stderr.startswith(b"swarm: standard output has no space left")
    assert told.stderr.count(b"\n") == 1


def test_a_reader_that_ends_first_is_no_error():
    """`swarm schema | head` ends with 0 and says nothing."""
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        told = subprocess.run(
            [sys.executable, "-m", "swarm", "schema"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert (told.returncode, told.stderr) == (0, b"")
