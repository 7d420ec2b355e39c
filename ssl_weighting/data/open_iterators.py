"""Who holds an iterator of batches, and lets go of it before the process ends.

Rows of tables are read by Python in threads of tf.data. Once the interpreter ends, no thread gets
into it any more; whoever drops an iterator then waits for its last rows for ever.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
import traceback
import weakref
from typing import Protocol


class Holder(Protocol):
    """Holds an iterator."""

    def forget(self) -> None:
        """Drop it."""
        ...


_holders: weakref.WeakSet[Holder] = weakref.WeakSet()


def lets_go_at_exit(holder: Holder) -> None:
    """Have `holder.forget` called before the interpreter ends, if it is still there."""
    _holders.add(holder)


def clear_frames(error: BaseException | None) -> None:
    """Free what the frames of an error hold, of which nobody will look into any more."""
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            _clear(frame)
        error = error.__cause__ or error.__context__


def _clear(frame):
    while frame is not None:  # TensorFlow takes frames of its own out of a traceback
        with contextlib.suppress(RuntimeError):  # it still runs
            frame.clear()
        frame = frame.f_back


@atexit.register
def _let_go():
    for holder in list(_holders):
        holder.forget()
    clear_frames(getattr(sys, "last_value", None))
    gc.collect()
