"""Find the runs below a folder and sort them into finished, not finished and unreadable.

Nothing found on disk stops the report: a broken run, or a broken optional file of a good run, is
named together with the reason.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from experiments.runs.record import RunRecord, before_refit, read_run
from experiments.runs.run_files import RunError, parse_object
from ssl_weighting.data.names import printable

RUN_FILES = ("summary.json", "config.json", "metrics.jsonl")


@dataclass(frozen=True)
class Collection:
    """Every run folder found, in order of name."""

    finished: tuple[RunRecord, ...]  # one for each folder
    unfinished: tuple[tuple[str, str], ...]  # (name, how far it came)
    corrupt: tuple[tuple[str, str], ...]  # (name, reason)

    @property
    def rows(self) -> tuple[RunRecord, ...]:
        """The finished runs for the tables: with a refit a folder has two, one after the other."""
        both = ((run, before_refit(run)) for run in self.finished)
        return tuple(run for pair in both for run in pair if run is not None)


def collect_runs(folder: Path | str) -> Collection:
    """Read every run at or below `folder`.

    A run is a folder with summary.json, config.json or metrics.jsonl; folders inside a run are
    not searched, and links are not followed.

    Raises:
        ValueError: `folder` is not a folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(
            f"`runs` must be a folder that holds run folders. Received: runs={folder}. "
            "Train something first, or name the folder that --out of the training programs named."
        )
    finished, unfinished, corrupt = [], [], []
    for path in sorted(_run_folders(root)):
        name = printable(path.relative_to(root).as_posix() if path != root else path.name)
        try:
            record = read_run(path, name)
            if record is None:
                unfinished.append((name, _progress(path)))
            else:
                finished.append(record)
        except RunError as error:
            corrupt.append((name, str(error)))
    return Collection(tuple(finished), tuple(unfinished), tuple(corrupt))


def _run_folders(root: Path) -> list[Path]:
    found = []
    for current, folders, files in os.walk(root):
        if any(name in files for name in RUN_FILES):
            found.append(Path(current))
            folders.clear()  # checkpoints and events of a run are no runs of their own
    return found


def _progress(folder: Path) -> str:
    """Return the last step in metrics.jsonl, read leniently: the run may still be writing."""
    try:
        lines = (folder / "metrics.jsonl").read_text("utf-8", "replace").splitlines()
    except OSError:
        return "no metrics yet"
    for line in reversed(lines):
        try:
            return f"last recorded step {int(parse_object(line, 'line')['step']):,}"
        except (ValueError, KeyError, TypeError):
            continue
    return "no metrics yet"
