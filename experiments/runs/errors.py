"""Errors that a user can act on end a program with their message and no traceback."""

from __future__ import annotations

import contextlib
import io
import sys

from ssl_weighting.data.open_iterators import clear_frames
from ssl_weighting.theta.rendezvous import WorkerLost

FAILED, INTERRUPTED = 1, 130  # exit codes
LOST = 75  # the one of sysexits.h for what may be tried again: nothing is wrong with this process


@contextlib.contextmanager
def friendly():
    """Print the message of an expected error to stderr and exit with `FAILED`.

    Expected are refused values, files that cannot be read or written, memory that is not there, and
    training that is not finite any more (`NonFiniteError` is a FloatingPointError, so TensorFlow
    need not be imported).
    Ctrl-C, where no run listens for it, ends with `INTERRUPTED`; whoever ends because another
    worker has, with `LOST`.
    Notes of an error stand before it: which of several workers met it.
    From here on the program prints any name, of bytes that are not UTF-8 too.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # as stderr has it
    try:
        yield
    except (ValueError, OSError, FloatingPointError, MemoryError) as error:
        whose = "".join(f"{note}: " for note in getattr(error, "__notes__", ()))
        print(f"{whose}{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        clear_frames(error)
        sys.exit(LOST if isinstance(error, WorkerLost) else FAILED)
    except KeyboardInterrupt as error:
        print("interrupted", file=sys.stderr, flush=True)
        clear_frames(error)
        sys.exit(INTERRUPTED)
