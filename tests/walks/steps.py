"""A walk: the commands a user would type, run as they stand, with their minutes."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow.csv

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # for the programs' modules: walks are run as scripts
SKIPPED = 2  # exit code of `predict` where some inputs could not be read


KINDS = ("noise", "foreign")  # as the makers of the sets name what does not belong to them


class Walk:
    """Runs programs of the repository one after the other and keeps what they were.

    Args:
        out: folder in which runs, exports and the record lie; made if missing.
    """

    def __init__(self, out: Path):
        self.out, self.commands = out.resolve(), []
        self.out.mkdir(parents=True, exist_ok=True)

    def run(self, program: str, *options: str) -> None:
        """Run `python -m experiments.PROGRAM OPTIONS` from the repository's top folder.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        shown = f"python -m experiments.{program} {shlex.join(options)}"
        print(f"\n$ {shown}", flush=True)
        start = time.monotonic()
        command = [sys.executable, "-m", f"experiments.{program}", *options]
        code = subprocess.run(command, cwd=ROOT).returncode
        if code not in (0, SKIPPED if program == "predict" else 0):
            raise subprocess.CalledProcessError(code, shown)
        minutes = round((time.monotonic() - start) / 60, 2)
        self.commands.append({"command": shown, "minutes": minutes})

    def clean(self, program: str, data: Sequence[str], new: str, worst: int) -> dict:
        """Train, rank, show, exclude the worst, train again, predict; return the record.

        It is written to walk.json and printed: commands, minutes, errors, and how many of the worst
        are of each of `KINDS`.

        Args:
            program: trains.
            data: its options that name the data.
            new: --input of `predict`.
            worst: how many examples are taken out.
        """
        first, second = self.out / "first", self.out / "second"
        listed, labels = self.out / "worst.csv", self.out / "labels.csv"
        self.run(program, *data, f"--out={first}")
        self.run("export_weights", f"--run={first}", f"--worst={worst}", f"--out={listed}")
        self.run("make_gallery", f"--run={first}")
        self.run(program, *data, f"--exclude={listed}", f"--out={second}")
        self.run("predict", f"--run={second}", f"--input={new}", f"--out={labels}")
        names = _names(listed)
        record = {
            "commands": self.commands,
            "error": _test_error(first),
            "error_without_the_worst": _test_error(second),
            "worst": len(names),
            "of_the_worst": {kind: sum(kind in name for name in names) for kind in KINDS},
            "labeled_by_predict": len(_names(labels)),
        }
        (self.out / "walk.json").write_text(json.dumps(record, indent=1) + "\n")
        print(json.dumps(record, indent=1), flush=True)
        return record


def _test_error(run):
    return json.loads((run / "summary.json").read_text())["test_error_median20"]


def _names(file):
    return [str(value) for value in pyarrow.csv.read_csv(file)["name"].to_pylist()]
