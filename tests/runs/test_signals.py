"""SIGTERM and SIGINT: answered at once, obeyed soon, and no bit is lost."""

import re
import signal

import runs
from runs import DIGITS, at_line, call, kill

from experiments import train_images
from experiments.compare_runs import differences, newest_checkpoint
from experiments.runs import execute as running
from experiments.runs import stop as stopping


def test_sigterm_saves_and_stops_the_program(workshop, unbroken, tmp_path, monkeypatch, capfd):
    def strike(write, log):
        write()
        kill(signal.SIGTERM)

    options = [f"--{k}={v}" for k, v in DIGITS.items()] + [f"--out={tmp_path}"]
    handlers = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    with runs.built_by(workshop.build):
        at_line("train", 9, strike)(monkeypatch)
        assert call(train_images, monkeypatch, *options) == 143
        assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == handlers
        assert newest_checkpoint(tmp_path)[0] == 9
        assert not (tmp_path / "summary.json").exists()
        told = (
            r"received SIGTERM: a checkpoint will be saved and the run stopped within about \d+ s"
        )
        assert re.search(told, capfd.readouterr().err)
        assert call(train_images, monkeypatch, *options) == 0
    assert "resuming at step 9" in capfd.readouterr().out
    assert differences(unbroken, tmp_path) == []


def test_a_signal_at_the_last_step_lets_the_run_finish(workshop, unbroken, tmp_path, monkeypatch):
    at_line("eval", 24, lambda write, log: (write(), kill(signal.SIGTERM)))(monkeypatch)
    assert runs.run(tmp_path, workshop, **DIGITS)["status"] == "complete"
    assert differences(unbroken, tmp_path) == []


def test_a_second_signal_ends_the_program_at_once(heard_signals, capfd, monkeypatch):
    ended = []
    monkeypatch.setattr(stopping.os, "_exit", ended.append)
    with running.Stop() as stop:
        assert not stop.asked()
        kill(signal.SIGINT)
        assert stop.asked() and stop.received == signal.SIGINT and not ended
        kill(signal.SIGTERM)
    assert ended == [128 + signal.SIGTERM]
    first, second, *_ = capfd.readouterr().err.splitlines()
    assert first.startswith("received SIGINT: a checkpoint will be saved")
    assert second.startswith("received SIGTERM again: stopping at once")


def test_stopped_after_every_step_and_resumed_equals_unbroken(
    workshop, unbroken, tmp_path, monkeypatch, capsys
):
    """Each sitting begins with a piece of one step: most of them end within a block."""
    with monkeypatch.context() as patched:
        patched.setattr(running.Stop, "asked", lambda stop: True)
        for _ in range(23):
            assert runs.run(tmp_path, workshop, **DIGITS) is None
    resumed = re.findall(r"resuming at step (\d+)", capsys.readouterr().out)
    assert resumed == [str(step) for step in range(1, 23)]
    assert "unreported" in newest_checkpoint(tmp_path)[1]
    assert runs.run(tmp_path, workshop, **DIGITS)["status"] == "complete"
    assert differences(unbroken, tmp_path) == []
    assert "unreported" not in newest_checkpoint(tmp_path)[1]


def test_a_signal_that_is_ignored_stays_ignored(capfd):
    """A family of processes is told by its parent: the terminal's Ctrl-C must not be a second."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with running.Stop() as stop:
            kill(signal.SIGINT)
            assert not stop.asked()
            kill(signal.SIGTERM)
            assert stop.asked()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert capfd.readouterr().err.count("received") == 1
