"""Several processes that share one piece of work; told to stop, each of them is."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Collection, Sequence


def run_together(
    commands: Sequence[Sequence[str]],
    fine: Collection[int] = (0,),
    every: float = 0.2,
    late: Collection[int] = (),
) -> int:
    """Run commands at once and wait for all.

    SIGTERM and SIGINT end each with a SIGTERM; SIGINT of the terminal does not reach them. When one
    fails, the others are told to stop too, and what they have is saved.

    Args:
        commands: program and arguments of each.
        fine: exit codes that are no failure.
        every: seconds between two looks at them.
        late: exit codes that are failures of which the others need not be told.

    Returns:
        The first exit code that is neither fine nor late, or else a late one, or 0.
    """
    old = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    children: list[subprocess.Popen] = []
    told: set[subprocess.Popen] = set()

    def tell(again):
        for child in children:
            if child.poll() is None and (again or child not in told):
                child.terminate()
                told.add(child)

    try:
        # What is blocked stays so in a child, and waits for its handler here.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        signal.signal(signal.SIGTERM, lambda *_: tell(again=True))
        for command in commands:
            children.append(subprocess.Popen(command))
        if told:  # by a signal that came before all were there
            tell(again=False)
        signal.signal(signal.SIGINT, lambda *_: tell(again=True))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        return _wait(children, fine, late, every, lambda: tell(again=False))
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        for number, handler in old.items():
            signal.signal(number, handler)


def _wait(children, fine, late, every, tell):
    """Wait for all; `tell` does nothing where they are told, for a second signal saves nothing."""
    failed = 0
    while True:
        codes = [child.poll() for child in children]
        bad = [code for code in codes if code not in (None, *fine, *late)]
        if bad and not failed:
            failed = bad[0]
            tell()
        if None not in codes:
            return failed or next((code for code in codes if code in late), 0)
        time.sleep(every)
