"""The file of answers: written as they come, in the place of earlier ones when all are there."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ssl_weighting.data.csv_cells import csv_of
from ssl_weighting.data.files import replacing

COLUMNS = ("name", "class", "confidence")
PROBLEM = "problem"  # the last column, where something could not be read


def check_out(out: str) -> None:
    """Check before any work that the answers can be written, and over nothing but answers.

    Raises:
        OSError, ValueError: they cannot.
    """
    path = Path(out)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"--out must name a file in a folder that is there. Received: --out={out}"
        )
    if path.exists() and not (path.is_file() and _are_answers(path)):
        raise ValueError(
            "--out must be a new file, or one of earlier answers that is replaced. "
            f"Received: --out={out}, which holds something else"
        )


def _are_answers(path):
    """Return whether a file begins as answers do, or is empty."""
    with open(path, "rb") as file:
        first = file.readline(1000)
    return not first or first.startswith(",".join(COLUMNS).encode())


class Answers:
    """One line an example: name, class, confidence, and what else is asked for.

    Lines go to nameless files in the folder of `out`, which end with the process; `finish` puts
    them together. A context manager.

    Args:
        out: of the file.
        class_names: C, different.
        top_k: likeliest classes to tell, from 1 to C: the second as class_2, confidence_2.
        probabilities: whether there is a column for each class, p_ and its name.

    Attributes:
        count, skipped: examples with an answer and without.
        first: (name, reason) of the first without.
    """

    def __init__(
        self, out: str, class_names: Sequence[str], top_k: int = 1, probabilities: bool = False
    ):
        self._out, self._class_names = Path(out), class_names
        self._top_k, self._probabilities = top_k, probabilities
        self.count, self.skipped, self.first = 0, 0, ("", "")
        self._rows, self._problems = (self._guarded(self._temporary) for _ in range(2))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for file in (self._rows, self._problems):
            file.close()

    @property
    def header(self) -> list[str]:
        """The names of the columns."""
        more = [f"{name}_{k}" for k in range(2, self._top_k + 1) for name in COLUMNS[1:]]
        every = [f"p_{name}" for name in self._class_names] if self._probabilities else []
        return [*COLUMNS, *more, *every]

    def add(self, names: Sequence[str], p: np.ndarray) -> None:
        """Write what the model says of n examples.

        Args:
            names: n.
            p: [n, C] float32, probabilities.

        Raises:
            OSError: there is no space.
            ValueError: they are not finite.
        """
        if not np.isfinite(p).all():
            raise ValueError("The model of --run must give finite probabilities. Received: NaN")
        rows = (self._row(name, row) for name, row in zip(names, p, strict=True))
        self._guarded(self._rows.write, csv_of(rows).encode())
        self.count += len(names)

    def _row(self, name, p):
        # The first of equals is the answer, as for argmax.
        best = np.argsort(-p, kind="stable")[: self._top_k]
        cells = [cell for k in best for cell in (self._class_names[k], f"{p[k]:.4f}")]
        return [name, *cells, *(f"{x:.6f}" for x in p if self._probabilities)]

    def skip(self, problems: Sequence[tuple[str, str]]) -> None:
        """Write (name, what is wrong with it) of examples that could not be read.

        Raises:
            OSError: there is no space.
        """
        if problems and not self.skipped:
            self.first = problems[0]
        blank = [""] * (len(self.header) - 1)
        rows = ((name, *blank, reason) for name, reason in problems)
        self._guarded(self._problems.write, csv_of(rows).encode())
        self.skipped += len(problems)

    def finish(self) -> None:
        """Write the file: the answers in order, then the examples without one.

        Raises:
            OSError: there is no space; what was there stays.
        """
        header = [*self.header, *([PROBLEM] if self.skipped else [])]
        with replacing(self._out) as temporary, open(temporary, "wb") as file:
            file.write(csv_of([header]).encode())
            for part in (self._rows, self._problems):
                part.seek(0)
                shutil.copyfileobj(part, file)

    def _temporary(self):
        return tempfile.TemporaryFile(dir=self._out.parent)

    def _guarded(self, act, *arguments):
        try:
            return act(*arguments)
        except OSError as error:
            reason = f"could not write {self._out}: {error}; free some space"
            raise OSError(error.errno, reason) from error
