"""Tables of examples as files give them, without the files: they count what is asked of them."""

import hashlib

import numpy as np

from ssl_weighting.data.example_table import ExampleTable, as_rows


class Computed(ExampleTable):
    """Rows that are made when asked for, as a table of files would read them."""

    def __init__(self, array):
        self.shape, self.dtype, self._array = array.shape, array.dtype, array
        self.asked = []

    def gather(self, rows):
        rows = as_rows(rows, len(self))
        self.asked.append(rows.tolist())
        return self._array[rows]


class Stored(Computed):
    """Rows whose digests are kept beside them: by default the true ones."""

    stores_digests = True

    def __init__(self, array, digests=None):
        super().__init__(array)
        if digests is None:
            digests = [hashlib.sha256(row.tobytes()).digest() for row in array]
        self._digests = np.array([list(one) for one in digests], np.uint8).reshape(-1, 32)

    def row_digests(self, rows=None):
        return self._digests if rows is None else self._digests[as_rows(rows, len(self))]
