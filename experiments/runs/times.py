"""timing.jsonl: a line of wall-clock figures a block, without which a run goes on."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from pathlib import Path

from ssl_weighting.data.files import write_atomically

FIGURES = ("step", "elapsed_seconds", "theta_seconds", "lambda_seconds")  # what is read again


class Times:
    """Appends to timing.jsonl until that fails once.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path):
        self.path, self._writes = path, True

    def cut(self, step: int) -> dict[str, float]:
        """Drop the lines of steps after `step`, which will be taken again; return the last kept.

        A file with other content is put aside, never emptied.
        """
        try:
            kept, foreign = _lines(self.path, step)
            if foreign:
                aside = _free(self.path.with_name(f"{self.path.name}.foreign"))
                print(f"{self.path} {foreign}; kept as {aside.name}, times count anew", flush=True)
                os.replace(self.path, aside)
            write_atomically(self.path, "".join(json.dumps(line) + "\n" for line in kept))
        except OSError as error:
            self._give_up(error)
            kept = []
        return kept[-1] if kept else {}

    def add(self, line: Mapping[str, float]) -> None:
        """Append one line."""
        try:
            if self._writes:
                with open(self.path, "a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error):
        self._writes = False
        reason = error.strerror or error
        print(f"{self.path} cannot be written ({reason}); going on without it", flush=True)


def _free(path):
    """Return the path, or the first of path.2, path.3, ... that nothing lies at."""
    names = itertools.chain([path], (Path(f"{path}.{k}") for k in itertools.count(2)))
    return next(name for name in names if not name.exists())


def _lines(path: Path, step: int) -> tuple[list[dict], str]:
    """Return the lines up to `step`, and what is foreign in the file, "" for nothing."""
    kept = []
    texts = path.read_bytes().splitlines() if path.exists() else []
    for number, text in enumerate(texts, 1):
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            if number == len(texts):
                break  # cut short by a kill: figures of time may be lost, results are not affected
            return [], f"line {number} is no JSON"
        if not _is_line(line):
            return [], f"line {number} is none of this program's"
        if line["step"] > step or step == 0:
            break
        kept.append(line)
    return kept, ""


def _is_line(line):
    values = [line.get(name) for name in FIGURES] if isinstance(line, dict) else [None]
    return all(type(v) in (int, float) and 0 <= v < 1e15 for v in values)
