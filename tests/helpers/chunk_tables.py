"""A table in memory that is saved in chunks, with the record of what was written."""

import numpy as np

from ssl_weighting.data.row_chunks import Changed, Column, Tables

N, CHUNK = 100, 16  # seven chunks, the last of 4 rows


class Table:
    """Two columns, and how many rows were read of them."""

    def __init__(self):
        self.a = np.arange(N, dtype=np.float32)
        self.b = np.full(N, np.nan)
        self.changed = Changed(N)
        self.asked = []

    @property
    def columns(self):
        def reader(name):
            def read(rows):
                self.asked.append(len(rows))
                return getattr(self, name)[rows]

            return read

        return Column("x/a", "float32", reader("a")), Column("x/b", "float64", reader("b"))

    def write(self, rows, value):
        rows = np.asarray(rows, np.int64)
        self.a[rows], self.b[rows] = value, -value
        self.changed.add(rows)

    @property
    def tables(self):
        """What a state of a run has of it."""
        return Tables(N, self.columns, self.changed.rows(), self.changed)

    def save(self, folder):
        saved = folder.save(N, self.columns, self.changed.rows(), self.changed.since)
        self.changed.clear(saved)
        return saved

    def same_as(self, found):
        assert found.keys() == {"x/a", "x/b"}
        for name, values in (("x/a", self.a), ("x/b", self.b)):
            assert found[name].dtype == values.dtype and found[name].tobytes() == values.tobytes()
