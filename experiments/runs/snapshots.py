"""Pictures of a toy run while it goes: the decision surface and Lambda (Fig. 1, Fig. 2)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from experiments.assemble.run import Run
from experiments.runs.run_files import RunError, read_snapshots, write_snapshots
from ssl_weighting.evaluation import log_softmax

GRID = 120  # points per side
# Lambda-iterations at which the paper's figures stop.
FIGURE_ITERATIONS = {"linear": (0, 10, 20), "circles": (1, 20, 30), "moons": (1, 20, 30)}


class Snapshots:
    """Collects the surface and Lambda at chosen steps and writes snapshots.npz.

    Args:
        run_splits: the run's `DataSplits`, points in the plane.
        folder: run folder.
        iterations: theta-step -> Lambda-iteration shown there.
        step: where the run stands; pictures of earlier steps are taken over from the file.
    """

    def __init__(self, splits, folder: str | Path, iterations: dict[int, int], step: int):
        self.splits, self.path = splits, Path(folder) / "snapshots.npz"
        self.iterations = iterations
        points = splits.test.inputs
        low, high = points.min(axis=0), points.max(axis=0)
        margin = 0.08 * (high - low)
        self.x, self.y = (
            np.linspace(low[k] - margin[k], high[k] + margin[k], GRID, dtype=np.float32)
            for k in (0, 1)
        )
        self.taken = self._earlier({k for s, k in iterations.items() if s < step})

    def take(self, run: Run) -> None:
        """Record the run as it is now and write the file anew."""
        grid = np.stack(np.meshgrid(self.x, self.y), axis=-1).reshape(-1, 2)
        logits = run.now.evaluator.logits(grid)
        probability = np.exp(log_softmax(logits)[:, 1]).reshape(GRID, GRID)
        lam = run.trainer.store.table().numpy()
        self.taken[self.iterations[run.trainer.step]] = (probability, lam)
        self._write()

    def _earlier(self, wanted):
        if not wanted or not self.path.exists():
            return {}
        try:
            file = read_snapshots(self.path)
            shapes = (GRID, GRID), self.splits.unlabeled.labels.shape
            if (file["probability"].shape[1:], file["lam"].shape[1:]) != shapes:
                raise RunError(f"{self.path.name} is of another run")
        except RunError as error:
            print(f"{self.path}: {error}; its earlier pictures are lost", flush=True)
            return {}
        rows = zip(file["iterations"], file["probability"], file["lam"], strict=True)
        return {int(k): (p, lam) for k, p, lam in rows if int(k) in wanted}

    def _write(self):
        s, order = self.splits, sorted(self.taken)
        arrays = (
            np.array(order),
            self.x,
            self.y,
            np.stack([self.taken[k][0] for k in order]).astype(np.float32),
            np.stack([self.taken[k][1] for k in order]),
            s.unlabeled.inputs,
            s.unlabeled.labels,
            s.labeled.inputs,
            s.labeled.labels,
        )
        write_snapshots(self.path, arrays)


def steps_of_iterations(config) -> dict[int, int]:
    """Return theta-step -> Lambda-iteration for the figure's iterations, and for the end.

    Iteration k is the state after k Lambda-steps have been taken and used for N theta-steps.
    """
    wanted = FIGURE_ITERATIONS[config.dataset]
    start, n = config.lambda_warmup_steps, config.inner_steps
    steps = {start + (k + 1) * n: k for k in wanted}
    last = max((config.steps - start) // n - 1, 0)
    return {s: k for s, k in steps.items() if s <= config.steps} | {config.steps: last}
