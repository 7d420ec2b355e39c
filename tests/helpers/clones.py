"""A copy of the front doors with stand-ins for Python, pip and the driver."""

import shutil
import subprocess
from pathlib import Path

from places import ROOT

SHARED = (
    "experiments/environment.sh",
    "setup.py",
    "requirements-cpu.lock",
    "requirements-gpu.lock",
)

# Answers as python, venv and pip would, and writes each call into calls.log.
FAKE_PYTHON = """#!/usr/bin/env bash
echo "$*" >>"$CALLS"
case "$* " in
  "--version ") echo "Python $FAKE_VERSION" ;;
  "-c "*) [[ "$FAKE_VERSION" == 3.1[123].* ]] ;;
  "-m venv "*)
    sleep "$PAUSE"
    mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo "version = 3.12.1" >"$3/pyvenv.cfg"
    ;;
  *" $FAILING "*) echo "no luck" >&2 && exit "$STATUS" ;;
  *" $SLOW "*)
    trap 'echo saved >>"$CALLS"; kill %1; exit 0' TERM
    sleep 30 &
    wait
    ;;
esac
"""
PREPARE = (
    "bash",
    "-c",
    'set -euo pipefail; source "$0"; prepare_environment; echo "PYTHON=$PYTHON"',
)


class Clone:
    """A copy of the front doors in a folder with a space in its name, and a PATH of stand-ins."""

    def __init__(self, folder: Path):
        self.root = folder / "my clone"
        self.bin = folder / "bin"
        self.calls = folder / "calls.log"
        self.venv = self.root / ".venv"
        self.stamp = self.venv / "environment.stamp"
        self.environment = {
            "PATH": f"{self.bin}:/usr/bin:/bin",
            "HOME": str(folder),
            "CALLS": str(self.calls),
            "FAKE_VERSION": "3.12.1",
            "FAILING": "nothing",
            "STATUS": "7",
            "SLOW": "nothing",
            "PAUSE": "0",
        }
        for name in (*SHARED, "run_all.sh", "tests/run.sh"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, self.root / name)
        self.bin.mkdir()
        for name in ("python3", "python3.11", "python3.12", "python3.13"):
            self.stand_in(name, FAKE_PYTHON)
        self.stand_in("nvidia-smi", "#!/bin/sh\nexit 9\n")

    def stand_in(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        """Runs a command from another folder; forgets the calls logged before."""
        self.calls.write_text("")
        return subprocess.run(
            command,
            env=self.environment | environment,
            cwd=self.bin,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def prepare(self, **environment: str) -> subprocess.CompletedProcess:
        return self.run(*PREPARE, str(self.root / SHARED[0]), **environment)

    def logged(self) -> list[str]:
        return self.calls.read_text().splitlines()


def programs(clone) -> list[str]:
    return [call for call in clone.logged() if call.startswith("-m experiments.")]
