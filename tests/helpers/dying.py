"""A process that dies at one of its calls to the file system: nothing after it is done."""

import contextlib
import os

import pytest
from runs import Killed

CALLS = ("fsync", "replace", "unlink", "truncate")


@contextlib.contextmanager
def dying_at(count, calls=("fsync", "replace")):
    """Die at the `count`-th call of `os.fsync` or `os.replace`; yield the list of calls so far.

    SIGKILL runs no `finally`: from the death on, every call that changes the disk dies too, so that
    what a dead process would have left stays.
    """
    done, dead = [], []

    def dies(name, original):
        def call(*args, **kwargs):
            if name in calls:
                done.append(name)
            if dead or len(done) == count:
                dead.append(name)
                raise Killed
            return original(*args, **kwargs)

        return call

    with pytest.MonkeyPatch.context() as patched:
        for name in CALLS:
            patched.setattr(os, name, dies(name, getattr(os, name)))
        yield done
