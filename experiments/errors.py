"""Errors that a user can act on end a program with their message and no traceback."""

from __future__ import annotations

import contextlib
import sys

from ssl_weighting.bilevel import NonFiniteError


@contextlib.contextmanager
def friendly():
    """Print the message of an expected error to stderr and exit with 1."""
    try:
        yield
    except (ValueError, FileNotFoundError, OSError, NonFiniteError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        sys.exit(1)
