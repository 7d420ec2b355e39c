"""Who holds an iterator of batches, and lets go of it before the process ends.

Rows of tables are read by Python in threads of tf.data. Once the interpreter ends, no thread gets
into it any more; whoever drops an iterator then waits for its last rows for ever.
"""

from __future__ import annotations

import atexit
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


@atexit.register
def let_go() -> None:
    """Let every holder go of its iterator, and so the traceback of what ended the program."""
    for holder in list(_holders):
        holder.forget()
    traceback.clear_frames(getattr(sys, "last_traceback", None))
    gc.collect()
