"""Work of known size for the test of peak memory; imported by a process of its own."""

import numpy as np


def allocate(megabytes):
    """Return (warm_up, work): a megabyte each, then `megabytes` at once, written to and dropped."""
    np.ones(80 * 10**6, np.uint8).sum()  # a peak before the measurement must not count
    return lambda: np.ones(10**6, np.uint8).sum(), lambda: np.ones(megabytes * 10**6, np.uint8)


def fail():
    """Fail while building."""
    raise MemoryError("nothing left")
