r"""Train a net on a toy set of Fig. 1 or Fig. 2 (Sec. 4.1).

    python -m experiments.train_synthetic --dataset=moons --algorithm=pseudo_label \
        --weighting=per_example --seed=1 --out=results/runs/moons

Data sets: linear (Fig. 1), circles and moons (Fig. 2); 10 labeled, 30 validation, 1,000 unlabeled.
A run continues from its last checkpoint.
"""

from __future__ import annotations

from absl import app

from experiments.options.config import Config
from experiments.options.flags import config_from_flags, define
from experiments.options.kinds import POINTS, check_kind
from experiments.runs.errors import friendly
from experiments.runs.start import TERMINATED, execute


def train(config: Config, *, again: bool = False) -> dict | None:
    """Run one toy configuration with snapshots; return its summary, None if stopped.

    Args:
        config: of a toy set; again: see `execute.execute`.
    """
    from experiments.runs.snapshots import Snapshots, steps_of_iterations  # loads TensorFlow

    snapshots = None

    def take(run):
        nonlocal snapshots
        snapshots = snapshots or Snapshots(run.splits, config.out, steps, run.trainer.step)
        snapshots.take(run)

    steps = steps_of_iterations(config)
    return execute(config, "train_synthetic", on_step=take, snapshot_steps=steps, again=again)


def main(argv: list[str]) -> int:
    """Run the configuration of the command line; return the exit code."""
    with friendly():
        config = config_from_flags(argv)
        check_kind(config.dataset, POINTS)
        summary = train(config)
    return 0 if summary else TERMINATED


if __name__ == "__main__":
    define()
    app.run(main)
