"""SIGTERM and SIGINT: acknowledged at once, obeyed where the run can be saved."""

from __future__ import annotations

import os
import signal
import threading
import time

HEARD = (signal.SIGTERM, signal.SIGINT)
SECONDS = 5.0  # a piece of a block of theta-steps takes at most so long, if one step does


class Stop:
    """Remembers a signal until the run asks for it; a second one ends the program at once.

    Python's own handlers wait until TensorFlow returns, which may take minutes while it compiles.
    So the number of a signal goes through a pipe to a thread, which answers.

    Attributes:
        received: the number of the signal, None so far.
    """

    def __init__(self):
        self.received = None
        self._asked, self._longest = [], SECONDS

    def __enter__(self):
        self._ear, self._mouth = os.pipe()
        os.set_blocking(self._mouth, False)
        # What a parent lets its children ignore, such as the terminal's Ctrl-C, stays ignored.
        heard = [number for number in HEARD if signal.getsignal(number) is not signal.SIG_IGN]
        self._old = {number: signal.signal(number, self._note) for number in heard}
        self._old_mouth = signal.set_wakeup_fd(self._mouth, warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        signal.set_wakeup_fd(self._old_mouth)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        os.close(self._mouth)
        self._thread.join()
        os.close(self._ear)

    def asked(self) -> bool:
        """Return whether a signal came; to be called wherever the run could stop."""
        self._asked = [*self._asked[-1:], time.monotonic()]
        if len(self._asked) == 2:  # not the time to the first place: that compiles
            self._longest = max(self._longest, self._asked[1] - self._asked[0])
        return self.received is not None

    def _note(self, number, _frame):
        self.received = number

    def _listen(self):
        heard = 0
        while byte := os.read(self._ear, 1):
            if byte[0] in self._old:
                heard += 1
                self._answer(byte[0], heard)

    def _answer(self, number, heard):
        name = signal.Signals(number).name
        if heard > 1:
            _say(f"received {name} again: stopping at once; resume from the last checkpoint")
            os._exit(128 + number)
        self.received = number
        when = f"within about {self._longest:.0f} s"
        if not self._asked:
            when = "after the first step, which may take minutes since it compiles"
        _say(
            f"received {name}: a checkpoint will be saved and the run stopped {when}. A second "
            "signal stops it at once, without one"
        )


def _say(text):
    # Not print: a signal may arrive in the middle of another print to the same stream.
    os.write(2, f"{text}\n".encode())
