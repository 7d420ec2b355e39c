"""Tell whether two run folders hold the same run, bit for bit.

    python -m experiments.compare_runs A B

Compares the newest checkpoints (theta, EMA, BatchNorm statistics, optimizer state, Lambda, m, v, t,
counters), metrics.jsonl and example_weights.parquet. Exits 0 only if all are identical; otherwise
names each difference and exits 1. Runs with different numbers of threads are no such pair, whatever
their bits: another day they may differ.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import app

from experiments.runs.errors import friendly
from experiments.runs.machine import machines_of, threads_of
from ssl_weighting.checkpointing import TABLES, Checkpoints, read


def newest_checkpoint(folder: Path) -> tuple[int, dict[str, np.ndarray]]:
    """Return (step, state) of the newest checkpoint of a run folder, all of it in memory.

    Raises:
        FileNotFoundError: the folder holds none.
    """
    step, state = _newest(folder)
    return step, _in_memory(state)


def _in_memory(state):
    arrays = {name: value for name, value in state.items() if name != TABLES}
    return arrays | (state[TABLES].whole() if TABLES in state else {})


def _newest(folder):
    paths = Checkpoints(folder / "checkpoints", {}).paths()
    if not paths:
        raise FileNotFoundError(f"{folder} must be a run folder. Received: no checkpoint in it.")
    manifest, state = read(paths[-1])
    return manifest["step"], state


def compare_states(a: dict, b: dict) -> list[str]:
    """Return one line for each array that is missing or differs in any bit."""
    found = [f"{name}: only in one of the two" for name in sorted(a.keys() ^ b.keys())]
    for name in sorted(a.keys() & b.keys()):
        x, y = a[name], b[name]
        if x.dtype != y.dtype or x.shape != y.shape:
            found.append(f"{name}: {x.dtype}{x.shape} against {y.dtype}{y.shape}")
        elif x.tobytes() != y.tobytes():
            found.append(f"{name}: {_differing(x, y)} of {x.size} entries differ")
    return found


def compare_checkpoints(a: dict, b: dict) -> list[str]:
    """Return what `compare_states` returns, of tables in chunks without having them in memory."""
    tables = [state.get(TABLES) for state in (a, b)]
    if None in tables or tables[0].saved[:3] != tables[1].saved[:3]:
        return compare_states(_in_memory(a), _in_memory(b))
    counts = dict.fromkeys(tables[0].saved.columns, 0)
    for (_, x), (_, y) in zip(*(table.blocks() for table in tables), strict=True):
        for name in counts:
            counts[name] += _differing(x[name], y[name])
    found = compare_states(*({k: v for k, v in s.items() if k != TABLES} for s in (a, b)))
    size = tables[0].saved.rows
    return found + [f"{k}: {n} of {size} entries differ" for k, n in counts.items() if n]


def _differing(x, y):
    """Count entries by their bits: x != y would count equal NaNs, and pass over -0 against 0."""
    p, q = (np.frombuffer(z.tobytes(), np.uint8).reshape(z.size, -1) for z in (x, y))
    return int((p != q).any(axis=1).sum())


def compare_metrics(a: Path, b: Path) -> list[str]:
    """Return what differs between two metrics.jsonl files."""
    if a.read_bytes() == b.read_bytes():
        return []
    x, y = (path.read_bytes().decode(errors="replace").split("\n") for path in (a, b))
    for number, (left, right) in enumerate(zip(x, y, strict=False), 1):
        if left != right:
            return [f"metrics.jsonl line {number}: {left} against {right}"]
    return [f"metrics.jsonl: {len(x)} lines against {len(y)}"]


def compare_weights(a: Path, b: Path) -> list[str]:
    """Return what differs between two example_weights.parquet files (absent in supervised runs)."""
    import pandas as pd

    if not a.exists() and not b.exists():
        return []
    if a.exists() != b.exists():
        return ["example_weights.parquet: only in one of the two"]
    tables = [
        {name: _comparable(column.to_numpy()) for name, column in pd.read_parquet(path).items()}
        for path in (a, b)
    ]
    return [f"example_weights.parquet {line}" for line in compare_states(*tables)]


def _comparable(column):
    # Texts and names of groups arrive as objects, whose bytes are addresses.
    return column.astype(str) if column.dtype == object else column


def compare_threads(a: Path, b: Path) -> list[str]:
    """Return whether two runs are known to have had different numbers of threads."""
    x, y = (threads_of(machines_of(folder)) for folder in (a, b))
    return [] if x == y or None in (x, y) else [f"threads differ: {x} against {y}"]


def compare_cpus(a: Path, b: Path) -> list[str]:
    """Return whether two runs are known to have been made on different kinds of CPU."""
    x, y = (" then ".join(m.get("cpu", "") for m in machines_of(folder)) for folder in (a, b))
    return [] if x == y or "" in (x, y) else [f"kinds of CPU differ: {x} against {y}"]


def differences(a: Path, b: Path) -> list[str]:
    """Return every difference between two run folders; empty if they hold the same run.

    Of different bits a different CPU is named as what may be behind them.
    """
    (step_a, state_a), (step_b, state_b) = _newest(a), _newest(b)
    for state in (state_a, state_b):  # older runs have none, and the file itself is compared
        state.pop("metrics_sha256", None)
    found = [] if step_a == step_b else [f"step: {step_a} against {step_b}"]
    found += compare_checkpoints(state_a, state_b)
    found += compare_metrics(a / "metrics.jsonl", b / "metrics.jsonl")
    found += compare_weights(a / "example_weights.parquet", b / "example_weights.parquet")
    return compare_threads(a, b) + (compare_cpus(a, b) if found else []) + found


def main(argv: list[str]) -> int:
    """Compare the two folders of the command line; return the exit code."""
    if len(argv) != 3:
        raise app.UsageError("Two run folders must be given.")
    with friendly():
        found = differences(Path(argv[1]), Path(argv[2]))
    print("\n".join(found) if found else "identical: checkpoint, metrics and weights")
    return 1 if found else 0


if __name__ == "__main__":
    app.run(main)
